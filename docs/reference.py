"""Writes `docs/reference.md` from the service's own OpenAPI document: `python -m docs.reference`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from app.main import create_app
from app.settings import Settings

PAGE = Path(__file__).parent / "reference.md"
HEAD = """\
# Reference

Every route, from the service's OpenAPI document; `/docs` of a running service shows the same, to try out.
"""


def page() -> str:
    """The page's text."""
    document = create_app(Settings(_env_file=None)).openapi()
    parts = [HEAD]
    for path, methods in document["paths"].items():
        parts += [_operation(path, method.upper(), facts) for method, facts in methods.items()]
    return "\n".join(parts)


def _operation(path: str, method: str, facts: dict[str, Any]) -> str:
    lines = [f"## `{method} {path}`", "", f"{facts['summary']}. {facts.get('description', '')}".rstrip(), ""]
    if parameters := facts.get("parameters"):
        lines += ["| query | values | default | |", "|---|---|---|---|", *map(_parameter, parameters), ""]
    if body := facts.get("requestBody"):
        lines += [f"Body: {', '.join(f'`{kind}`' for kind in body['content'])}.", ""]
    for status, answer in facts["responses"].items():
        kinds = ", ".join(f"`{kind}`" for kind in answer.get("content", {}))
        lines.append(f"- **{status}** {answer['description']} {kinds}".rstrip())
    return "\n".join([*lines, "", *_examples(facts["responses"])])


def _parameter(facts: dict[str, Any]) -> str:
    schema = facts["schema"]
    default = schema.get("default")
    shown = f"`{json.dumps(default).strip(chr(34))}`" if default is not None else ""
    return f"| `{facts['name']}` | {_values(schema)} | {shown} | {facts.get('description', '')} |"


def _values(schema: dict[str, Any]) -> str:
    if choices := schema.get("anyOf"):
        return ", ".join(_values(choice) for choice in choices if choice.get("type") != "null")
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if "minimum" in schema:
        return f"{schema['minimum']:g} to {schema['maximum']:g}"
    return str({"boolean": "`true`, `false`", "string": "text"}.get(schema["type"], schema["type"]))


def _examples(responses: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for answer in responses.values():
        for kind, content in answer.get("content", {}).items():
            if "example" in content and "problem" not in kind:
                example = content["example"]
                text = example if isinstance(example, str) else json.dumps(example, indent=1)
                lines += [f"An example of `{kind}`:", "", "```json", text.rstrip(), "```", ""]
    return lines


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE).write_text(page())
