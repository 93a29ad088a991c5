"""Settings composed by Hydra before anything is run by them: no directory is made, nothing in them is instantiated."""

import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from rlnlp.cli.words import flag_value
from rlnlp.config.choices import conf_dir
from rlnlp.errors import Exit, Failure, one_line

BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
MOST_JOBS = 10_000  # of a sweep; a range that is typed wrong can mean millions


@dataclass(frozen=True)
class Composition:
    """Composed settings, Hydra's own below ``hydra``, and what composed them."""

    config: Any
    loader: Any
    name: str
    words: tuple[str, ...]

    @property
    def sweep(self) -> bool:
        """True if it is many jobs."""
        return str(self.config.hydra.mode) == "RunMode.MULTIRUN"

    @property
    def directory(self) -> Path:
        """Of the run or of the sweep, as it would be typed from here.

        Raises:
            Failure: exit 2, if it has no name.
        """
        key = "sweep" if self.sweep else "run"
        name = str(self.config.hydra[key].dir)
        if not name.strip():
            raise Failure(Exit.CONFIG, f"hydra.{key}.dir must name a directory")
        return Path(name).expanduser()

    def jobs(self) -> "list[Composition | Failure] | None":
        """Each job of a sweep, or why it cannot be composed; None if its sweeper decides as it goes.

        Raises:
            Failure: exit 2, for more jobs than anybody can mean.
        """
        hydra = self.config.hydra
        if hydra.sweeper._target_ != BASIC:
            return None
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
        from hydra.core.override_parser.overrides_parser import OverridesParser

        params = [f"{key}={value}" for key, value in (hydra.sweeper.params or {}).items()]
        parser = OverridesParser.create(config_loader=self.loader)
        overrides = parser.parse_overrides([*params, *hydra.overrides.task])
        return [self._job(words) for words in BasicSweeper.split_arguments(overrides, None)[0]]

    def _job(self, words: list[str]) -> "Composition | Failure":
        from rlnlp.cli.hydra_errors import explained

        try:
            config = self.loader.load_sweep_config(self.config, list(words))
        except Exception as error:
            return Failure(Exit.CONFIG, explained(error))
        return Composition(config, self.loader, self.name, (*self.config.hydra.overrides.hydra, *words))

    def files(self) -> Iterator[tuple[Path, str]]:
        """Each file that was composed, and the package that its content went to; Hydra's own are left out."""
        from hydra.types import RunMode

        mode = RunMode.MULTIRUN if self.sweep else RunMode.RUN
        found = self.loader.compute_defaults_list(self.name, list(self.words), mode).defaults
        places = [source for source in self.config.hydra.runtime.config_sources if source.schema == "file"]
        for default in found:
            names = [f"{default.config_path}.yaml", f"{default.config_path}.yml", str(default.config_path)]
            paths = (Path(source.path) / name for source in places for name in names)
            path = next((path for path in paths if path.is_file()), None)
            if path is not None:
                yield path, default.package or ""


def composed(flags: list[str], settings: list[str], sweep: bool) -> Composition:
    """What Hydra makes of the words.

    Raises:
        Failure: exit 2, with Hydra's complaint in words.
    """
    from rlnlp.cli.hydra_errors import explained

    try:
        return _composed(flags, settings, sweep)
    except Failure:
        raise
    except Exception as error:
        raise Failure(Exit.CONFIG, explained(error)) from error


def _composed(flags: list[str], settings: list[str], sweep: bool) -> Composition:
    import hydra
    from hydra import version
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.utils import create_config_search_path
    from hydra.core.config_search_path import SearchPathQuery
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.utils import JobRuntime, setup_globals
    from hydra.types import RunMode

    if hydra.__version__.startswith("1.3"):
        version.setbase("1.3")
    setup_globals()
    JobRuntime().set("name", "rlnlp")
    path = create_config_search_path(flag_value(flags, "-cp", "--config-path") or str(conf_dir()))
    own = flag_value(flags, "-cd", "--config-dir")
    if own is not None:
        path.prepend("command-line", f"file://{own}", SearchPathQuery(provider="schema"))
    loader = ConfigLoaderImpl(config_search_path=path)
    name = flag_value(flags, "-cn", "--config-name") or "train"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = loader.load_configuration(name, settings, RunMode.MULTIRUN if sweep else RunMode.RUN)
    if config.hydra.mode is None:
        config.hydra.mode = RunMode.MULTIRUN if sweep else RunMode.RUN
    HydraConfig.instance().set_config(config)
    return Composition(config, loader, name, tuple(settings))
