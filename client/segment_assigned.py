"""Studies that are for different models of one server: each by its own, one model after the other."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from swinunet.client.model_choice import Assigned
from swinunet.client.study_queue import Outcome, Progress
from swinunet.client.triton import ServerOptions, TritonModel


def segment_assigned(
    assigned: Sequence[Assigned],
    folders: Sequence[Path],
    url: str,
    options: ServerOptions,
    segment: Callable[..., Generator[Outcome, None, None]],
    progress: Progress = lambda study, done, total: None,
) -> Generator[Outcome, None, None]:
    """What became of each study, as `segment_studies` yields it; those without a model are refused at once.

    folders: one for each. segment: `segment_studies`, but for its studies, folders, model and progress.
    Raises what `TritonModel` raises.
    """
    for each, folder in zip(assigned, folders, strict=True):
        if each.error:
            reason = " ".join(str(each.error).split()).removeprefix(f"{each.study.path}: ")
            yield Outcome(each.study, folder, "refused", reason=reason, error=each.error)
    for name in dict.fromkeys(each.model for each in assigned if not each.error):
        mine = [at for at, each in enumerate(assigned) if each.model == name and not each.error]
        with TritonModel(url, name, options) as model:
            yield from segment(
                [assigned[at].study for at in mine], [folders[at] for at in mine], model=model, progress=progress
            )
