"""`fcn-segment`: segments files, folders and objects. Writes the same bytes that the service would answer."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from pathlib import Path

from cli.answers import Answers, open_answers
from cli.arguments import options, parser
from cli.coco_file import CocoFile, is_coco_file
from cli.input import STDIO, Input, Shard
from cli.inputs import Listing, list_either
from cli.job import segment_job
from cli.local import Local, Network
from cli.places import is_path, real
from cli.records import Ranking, open_records, record_all
from cli.remote import Remote
from cli.report import DONE, INTERRUPTED, SOME_FAILED, Outcome, Summary, exit_status, tell
from cli.run import Backend, BulkJob, leave, run_all
from cli.scene_request import read_requests
from cli.start import ended_at_once
from common.whole_file import begins_with, check_output, open_descriptor
from imaging.coco import HEAD
from model.inference.loading import unused_gpu

DOCUMENT = re.escape(HEAD) + rb'|\{"model":|\[\{"label":|\[\]'  # what answers in JSON begin with
DISTANT_THREADS = 4  # threads for each worker, if images or answers are not on this machine: most threads wait for them


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit status.

    0: all images are done. 2: no image is done, or an error has ended the run. 3: some images failed, all others are done. 130:
    Ctrl-C has interrupted the run. 141: the reader of stdout has closed it; the signal SIGPIPE gives the same status.
    """
    return leave(exit_status(lambda: _run(parser().parse_args(argv))))


def _run(args: argparse.Namespace) -> int:
    if args.job:
        return segment_job(read_requests(args), args)
    if requests := read_requests(args):
        from cli.scenes import segment_scenes  # imports rasterio

        return segment_scenes(requests, args)
    _check(args)
    listing, answers, document = _listing(args)
    if answers.file and answers.suffix == ".json" and is_path(args.out) and not (args.resume or args.force):
        check_output(args.out, begins_with(DOCUMENT))
    ranking = Ranking(args.rank, listing, by=args.rank_by, force=args.force) if args.rank is not None else None
    with _backend(args) as backend:
        digest = None if answers.file else backend.settings_digest()
        if digest is None and args.resume and not answers.file:
            raise OSError(f"{args.server} does not say at /info which model it runs, and --resume needs that; leave it out")
        if document:
            document.begin(resume=args.resume, force=args.force)
        summary = Summary(rendering=options(args).rendering)
        records, journal = open_records(args, answers, digest, summary)
        job = BulkJob(
            backend, answers, listing, digest, journal, resume=args.resume,
            force=args.force or document is not None or (answers.file and not args.resume),
        )  # fmt: skip
        outcomes = document.passing(_outcomes(job, args)) if document else _outcomes(job, args)
        outcomes = ranking.passing(outcomes) if ranking else outcomes
        status = record_all(outcomes, records, summary, resumable=digest is not None, json=args.json)
        if status == INTERRUPTED:
            return status
        if journal and digest and _has_changed(backend, digest):
            journal.discard()
            tell(f"{args.server} changed its model during the run, so answers are of both; --resume does them again")
            status = status or SOME_FAILED
        if document and status in (DONE, SOME_FAILED):
            document.write(complete=status == DONE)
        if ranking and status in (DONE, SOME_FAILED):
            ranking.write()
        return status


def _has_changed(backend: Backend, digest: str | None) -> bool:
    """Whether the backend now has another model than at the start; False if it does not say."""
    try:
        return backend.settings_digest() not in (digest, None)
    except OSError:  # the service has gone
        return False


def _check(args: argparse.Namespace) -> None:
    """Raises `OSError` for arguments that do not go together."""
    if len(names := [name for name, value in _to_stdout(args).items() if value]) > 1:
        raise OSError(f"{' and '.join(names)} would both write to stdout; give a file or a folder")
    places = (args.out, args.rank, args.results, args.from_file)
    files = [real(name) for name in places if name and name != STDIO and is_path(name)]
    if len(set(files)) < len(files):
        raise OSError("-o, --rank and --results would write to one file, or to that of --from-file; give each its own")
    if args.json and sys.stdout is None:
        raise OSError("--json has nowhere to write: stdout is closed")
    if args.server is None and args.model is not None:
        raise OSError("--model chooses a model of a service; give --server URL, or --weights instead")
    if args.server is None and args.api_key is not None:
        raise OSError("--api-key is for a service; give --server URL, or leave it out")
    if args.rank_by is not None and args.rank is None:
        raise OSError("--rank-by says the order of --rank FILE; give it as well, or leave --rank-by out")
    if args.rank is not None and (args.resume or args.shard):
        other, reason = ("--resume", "skips some") if args.resume else ("--shard", "does a part of them")
        raise OSError(f"--rank orders all images, and {other} {reason}; sort the rows of --results by mean_confidence instead")


def _to_stdout(args: argparse.Namespace) -> dict[str, bool]:
    """Which arguments write to stdout."""
    names = {"-o": args.out, "--rank": args.rank or "", "--results": args.results or ""}
    files = {f"{option} {name}": name == STDIO or open_descriptor(name) == 1 for option, name in names.items()}
    return {"--json": args.json} | files


def _listing(args: argparse.Namespace) -> tuple[Listing, Answers, CocoFile | None]:
    """The inputs, where their answers go, and the document that collects them, if there is one."""
    answer, listing = options(args).rendering, list_either(args.inputs, args.from_file, args.out)
    if is_coco_file(args.out, args.format, listing.single):
        if not is_path(args.out) or args.shard:
            reason = "one COCO document of all images goes to a file on this machine, without --shard"
            raise OSError(f"{reason}; give a folder, such as -o {args.out.removesuffix('.json')}/, for one of each image")
        document = CocoFile(args.out)
        return listing, document.answers, document
    answers = open_answers(args.out, answer, listing.single)
    if answers.file and args.out != STDIO and is_path(args.out) and listing.holds(Path(args.out)):
        raise OSError(f"{args.out} would overwrite an image; give another -o")
    return listing, answers, None


def _outcomes(job: BulkJob, args: argparse.Namespace) -> Iterator[Outcome]:
    """The outcomes of the shard's images."""
    images = _images(job.listing, args.shard or Shard(), args.from_file)
    if job.listing.single:
        yield from map(job, images)
        return
    distant = not all(map(is_path, (*args.inputs, args.out))) or args.from_file is not None
    with closing(run_all(job, images, job.backend.workers * (DISTANT_THREADS if distant else 1))) as outcomes:
        yield from outcomes


def _images(listing: Listing, shard: Shard, names: str | None) -> Iterator[Input]:
    """The images of the shard. Raises `OSError` if there are none in all shards."""
    image = None
    for image in listing:
        if shard.holds(image):
            yield image
    if image is None:
        raise OSError(f"no names in {names}; each line is a path or a URL")


def _backend(args: argparse.Namespace) -> AbstractContextManager[Backend]:
    if args.server is not None:
        return closing(Remote(args))
    segment_options = replace(options(args), mean_confidence=bool(args.results or args.rank))
    with ended_at_once("fcn-segment"):  # `Local.load` imports large packages
        if args.device == "auto" and (warning := unused_gpu()):
            tell(warning)
        local = Local.load(Network.of(args), segment_options, megapixels=args.max_megapixels)
    return closing(local)
