"""The page about web pages: its programs run in a page of another origin."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, expect

from benchmarks.harness.serving import free_port, service
from tests.support.checkout import ROOT
from tests.support.client.file_server import served_folder
from tests.support.pages import blocks

PAGE = (ROOT / "docs" / "browser.md").read_text()


def test_the_programs_draw_a_mask_outlines_and_a_cut_out(browser: Browser, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "index.html").write_text("\n".join(blocks(PAGE, "html")))
    programs = "\n".join(blocks(PAGE, "js"))
    (tmp_path / "page.js").write_text(programs.replace("http://127.0.0.1:8000", f"http://127.0.0.1:{port}"))
    with served_folder(tmp_path) as origin, service(port=port, device="cpu", threads=1, cors_origins=origin):
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(origin)
        page.set_input_files("#photo", ROOT / "docs" / "photos" / "chelsea.jpg")
        expect(page.locator("#message")).to_have_text("Done.")
        assert page.evaluate("[masked.width, masked.height]") == [451, 300]
        green, grey = "getContext('2d').getImageData(200, 120, 1, 1).data", "getContext('2d').getImageData(440, 10, 1, 1).data"
        inside, outside = (page.evaluate(f"[...masked.{where}]") for where in (green, grey))
        assert inside[1] > max(inside[0], inside[2])
        assert outside[1] <= max(outside[0], outside[2])
        expect(page.locator("#outlines path title")).to_have_text("cat")
        assert page.locator("#outlines").get_attribute("viewBox") == "0 0 451 300"
        page.wait_for_function("cutout.naturalWidth > 100 && cutout.naturalWidth <= 451")
        assert not errors
        page.close()
