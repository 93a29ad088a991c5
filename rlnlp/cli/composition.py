"""Settings composed by Hydra before anything is run by them: no directory is made, nothing in them is instantiated."""

import secrets
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rlnlp.cli.hydra_errors import explained
from rlnlp.cli.hydra_guard import check_composed, check_searchpath
from rlnlp.cli.hydra_words import flag_value
from rlnlp.config.choices import conf_dir
from rlnlp.errors import Exit, Failure

BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


@dataclass(frozen=True)
class Composition:
    """Composed settings, Hydra's own below ``hydra``, and what composed them: those of a run, a sweep, or a job."""

    config: Any
    loader: Any
    name: str
    words: tuple[str, ...]
    sweep: bool
    number: int | None = None  # of a job of a sweep

    @property
    def directory(self) -> Path:
        """Of the run, the sweep or the job, as it would be typed from here.

        Raises:
            Failure: exit 2, if it has no name.
        """
        key = "run" if not self.sweep and self.number is None else "sweep"
        name = str(self.config.hydra[key].dir)
        if not name.strip():
            raise Failure(Exit.CONFIG, f"hydra.{key}.dir must name a directory")
        path = Path(name).expanduser() / (str(self.config.hydra.sweep.subdir) if self.number is not None else "")
        return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path

    def task(self) -> Any:
        """The settings without Hydra's own; ``${hydra:...}`` in them is resolved."""
        from hydra.core.hydra_config import HydraConfig
        from omegaconf import open_dict

        with open_dict(self.config.hydra):
            self.config.hydra.runtime.output_dir = str(Path.cwd() / self.directory)
        HydraConfig.instance().set_config(self.config)
        settings = self.config.copy()
        with open_dict(settings):
            del settings["hydra"]
        return settings

    def jobs(self) -> "list[tuple[list[str], Composition | Failure]] | None":
        """The words of each job of a sweep, and the job or why it cannot be; None if its sweeper chooses as it goes.

        Raises:
            Failure: exit 2, for values that cannot be swept over.
        """
        hydra = self.config.hydra
        if hydra.sweeper._target_ != BASIC:
            return None
        assert self.directory.name, "resolved here, so that the jobs inherit the time and the digits in it"
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from hydra.errors import HydraException
        from omegaconf import OmegaConf

        params = [f"{key}={value}" for key, value in (hydra.sweeper.params or {}).items()]
        typed: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)
        try:
            overrides = OverridesParser.create(self.loader).parse_overrides([*params, *typed])
            found = BasicSweeper.split_arguments(overrides, None)[0]
        except HydraException as error:
            raise Failure(Exit.CONFIG, explained(error)) from error
        return [(words, self._job(number, words)) for number, words in enumerate(found)]

    def _job(self, number: int, words: list[str]) -> "Composition | Failure":
        from omegaconf import OmegaConf, open_dict

        try:
            config = self.loader.load_sweep_config(self.config, list(words))
            with open_dict(config.hydra):
                config.hydra.job.num, config.hydra.job.id = number, f"job_{number}"  # as Hydra's launcher does
            own: Any = OmegaConf.to_container(self.config.hydra.overrides.hydra, resolve=False)
            job = Composition(config, self.loader, self.name, (*own, *words), False, number)
            check_composed(config, job.files())
        except Failure as failure:
            return failure
        except Exception as error:
            return Failure(Exit.CONFIG, explained(error))
        return job

    def files(self) -> Iterator[tuple[Path, str]]:
        """Each file of the user's that was composed, and the package that its content went to."""
        from hydra.types import RunMode

        if all(place == conf_dir() for place in self.directories()):
            return  # nothing of the user's can be among them
        mode = RunMode.MULTIRUN if self.sweep else RunMode.RUN
        found = self.loader.compute_defaults_list(self.name, list(self.words), mode).defaults
        for default in found:
            path = next(iter(self._paths(default.config_path)), None)
            if path is not None and not path.resolve().is_relative_to(conf_dir().resolve()):
                yield path, default.package or ""

    def directories(self) -> list[Path]:
        """Where files are looked for, but for those inside packages."""
        return [Path(source.path) for source in self.config.hydra.runtime.config_sources if source.schema == "file"]

    def _paths(self, name: str) -> Iterator[Path]:
        names = (name,) if name.endswith((".yaml", ".yml")) else (f"{name}.yaml", f"{name}.yml")
        return (place / each for place in self.directories() for each in names if (place / each).is_file())


def composed(flags: list[str], words: list[str], sweep: bool) -> Composition:
    """What Hydra makes of the words, checked to run no code.

    Raises:
        Failure: exit 2, with Hydra's complaint in words.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of search paths that are not there, which is checked
        try:
            found = _composed(flags, words, sweep)
            check_composed(found.config, found.files())
        except Failure:
            raise
        except Exception as error:  # of Hydra, OmegaConf or YAML, about the settings
            raise Failure(Exit.CONFIG, explained(error)) from error
    return found


def _composed(flags: list[str], words: list[str], sweep: bool) -> Composition:
    import hydra
    from hydra import version
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.utils import create_config_search_path
    from hydra.core.config_search_path import SearchPathQuery
    from hydra.core.utils import JobRuntime, setup_globals
    from hydra.types import RunMode

    if hydra.__version__.startswith("1.3"):
        version.setbase("1.3")
    setup_globals()
    register_stamp()
    JobRuntime().set("name", "rlnlp")
    main = flag_value(flags, "-cp", "--config-path") or str(conf_dir())
    own = flag_value(flags, "-cd", "--config-dir")
    name = flag_value(flags, "-cn", "--config-name") or "train"
    places = [Path(place) for place in (main, own) if place is not None]
    for place in places:
        if not place.is_dir():
            raise Failure(Exit.CONFIG, f"no such directory: {place}")
        for primary in (place / name, place / f"{name}.yaml", place / f"{name}.yml"):
            if primary.is_file() and place != conf_dir():
                check_searchpath(primary)
    path = create_config_search_path(main)
    if own is not None:
        path.prepend("command-line", f"file://{own}", SearchPathQuery(provider="schema"))
    loader = ConfigLoaderImpl(config_search_path=path)
    config = loader.load_configuration(name, words, RunMode.MULTIRUN if sweep else RunMode.RUN)
    if sweep or config.hydra.mode is None:
        config.hydra.mode = RunMode.MULTIRUN if sweep else RunMode.RUN
    return Composition(config, loader, name, tuple(words), config.hydra.mode == RunMode.MULTIRUN)


def register_stamp() -> None:
    """Let ``${rlnlp.stamp:}`` stand for the name of a new run or sweep, the same wherever a config has it."""
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("rlnlp.stamp", stamp, use_cache=True, replace=True)


def stamp() -> str:
    """The time and eight random digits: two runs that begin in the same second have different names."""
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{secrets.token_hex(4)}"
