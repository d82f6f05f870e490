"""Build VOC's augmented training set: SegmentationClassAug and the list train_aug.

    python examples/prepare_voc.py --voc VOCdevkit/VOC2012 --sbd benchmark_RELEASE
    python examples/prepare_voc.py --voc data --sbd data --download     # fetches both first

VOC is the official archive VOCtrainval_11-May-2012, SBD the Semantic Boundaries Dataset with its
`.mat` files. Needs SciPy: pip install 'fsr-wsss[voc]'. What is there already is left alone, so that
the same command goes on after an interruption. Exit status: 0 done, 1 the data cannot be used, 2 a
wrong option, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from option_types import count
from progress import Progress

from fsr.data import VOC_IMAGES, build_train_aug, download_archives
from fsr.errors import DataError

INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Build the set; see the exit statuses at the top."""
    parser = argparse.ArgumentParser(
        prog="prepare_voc.py",
        allow_abbrev=False,
        description=(__doc__ or "").partition("\n")[0],
    )
    parser.add_argument("--voc", type=Path, required=True, help="VOC2012, or a folder above it")
    parser.add_argument("--sbd", type=Path, required=True, help="SBD, or a folder above it")
    parser.add_argument("--workers", type=count, default=0, help="processes (default: this one)")
    parser.add_argument("--download", action="store_true", help="fetch both into these folders")
    options = parser.parse_args(argv)
    voc, sbd = options.voc.expanduser(), options.sbd.expanduser()
    try:
        if options.download:
            download_archives(voc, sbd)
        with Progress(0, "masks") as progress:
            built = build_train_aug(voc, sbd, workers=options.workers, progress=progress.set)
    except (DataError, ImportError, OSError, BrokenProcessPool) as error:
        print(f"prepare_voc.py: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("prepare_voc.py: interrupted; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    print(f"{built.written} masks written")
    for split, images in built.counts.items():
        known = VOC_IMAGES[split]
        note = "as in papers" if images == known else f"papers have {known:,}"
        print(f"{split:10}{images:>7,} images ({note})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
