"""Settings: one typed table; each is read from the environment, then from the configuration file, then its default."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from cloudaccel.errors import ConfigError


class Setting:
    """One setting: key in ``config.toml``, environment variable, default, and a line of help."""

    def __init__(self, key: str, env: str, default: str, help: str) -> None:  # noqa: A002
        self.key = key
        self.env = env
        self.default = default
        self.help = help


SETTINGS = (
    Setting("catalog", "CLOUDACCEL_CATALOG", "", "catalog file, snapshot folder or price file to answer from"),
    Setting("cache_dir", "CLOUDACCEL_CACHE_DIR", "", "folder of the built catalog (default: the user's cache folder)"),
    Setting("price_file", "CLOUDACCEL_PRICE_FILE", "", "overlay of your own prices, always on top of the catalog"),
    Setting(
        "adjustments",
        "CLOUDACCEL_ADJUSTMENTS",
        "",
        "what you negotiated: discounts, fees and commitments, under price_file",
    ),
    Setting("fx_file", "CLOUDACCEL_FX_FILE", "", "euro reference rates (ECB, CSV or XML) for --currency"),
    Setting("max_age", "CLOUDACCEL_MAX_AGE", "", "mark prices older than this as STALE (24h, 30d)"),
    Setting("headquarters", "CLOUDACCEL_HEADQUARTERS", "", "country of your ultimate parent, for the rules"),
    Setting("sector", "CLOUDACCEL_SECTOR", "", "your sector for the rules: bank, health, public"),
    Setting(
        "users", "CLOUDACCEL_USERS", "", "countries of your users for the rules, or none outside those of the work"
    ),
    Setting("inventory", "CLOUDACCEL_INVENTORY", "", "machines that you own; for plans without a public cloud"),
    Setting("statements", "CLOUDACCEL_STATEMENTS", "", "file of what you stated (default: beside the configuration)"),
    Setting("history_days", "CLOUDACCEL_HISTORY_DAYS", "", "keep every past price for so many days, then one a month"),
    Setting("max_hourly", "CLOUDACCEL_MAX_HOURLY", "", "the most that all machines of a request may cost an hour"),
    Setting("max_hourly_spot", "CLOUDACCEL_MAX_HOURLY_SPOT", "", "the same for spot, in place of max_hourly"),
    Setting("max_hourly_user", "CLOUDACCEL_MAX_HOURLY_USER", "", "the most that all runs of one user may cost an hour"),
    Setting("max_monthly", "CLOUDACCEL_MAX_MONTHLY", "", "the most that all runs may cost in a calendar month (UTC)"),
    Setting("mirrors", "CLOUDACCEL_MIRRORS", "", "addresses to ask in place of price lists: PUBLISHED=MIRROR,..."),
    Setting("proxy", "CLOUDACCEL_PROXY", "", "proxy for price lists (default: HTTPS_PROXY and NO_PROXY)"),
    Setting("trusted_key", "CLOUDACCEL_TRUSTED_KEY", "", "public keys (PEM) of whom snapshots are taken from"),
    Setting("smtp", "CLOUDACCEL_SMTP", "", "mail server for alerts: smtps://user@host:465?from=ADDRESS"),
    Setting("ca_file", "CLOUDACCEL_CA_FILE", "", "certificates (PEM) to trust for price lists (or SSL_CERT_FILE)"),
)


def config_path() -> Path:
    """Where the configuration file is looked for: ``CLOUDACCEL_CONFIG``, else the user's configuration folder."""
    explicit = os.environ.get("CLOUDACCEL_CONFIG")
    return Path(explicit) if explicit else _user_dir("config") / "config.toml"


def statements_path() -> Path:
    """The file of statements: the setting, else ``statements.json`` beside the configuration file."""
    named = load_settings()["statements"]
    return Path(named) if named else config_path().with_name("statements.json")


def cache_dir() -> Path:
    """Folder of the built catalog: ``CLOUDACCEL_CACHE_DIR``, else the user's cache folder."""
    explicit = os.environ.get("CLOUDACCEL_CACHE_DIR")
    return Path(explicit) if explicit else _user_dir("cache")


def _user_dir(kind: str) -> Path:
    """The user's folder of one kind (``cache``, ``config``, ``data``) for this program."""
    if sys.platform == "linux":
        # The XDG rule in two lines, since platformdirs costs a tenth of a quote's time to import here.
        base = os.environ.get(f"XDG_{kind.upper()}_HOME", "")
        home = os.path.expanduser("~")
        if home == "~":  # a user id without an account, as containers have: nothing can be kept for it
            home = os.devnull
        return Path(base if os.path.isabs(base) else os.path.join(home, _XDG[kind]), "cloudaccel")
    import platformdirs

    path: Path = getattr(platformdirs, f"user_{kind}_path")("cloudaccel", appauthor=False)
    return path


_XDG = {"cache": ".cache", "config": ".config", "data": ".local/share"}


def data_dir() -> Path:
    """Folder of what must not be lost (the journal of runs): ``CLOUDACCEL_DATA_DIR``, else the user's data folder."""
    explicit = os.environ.get("CLOUDACCEL_DATA_DIR")
    return Path(explicit) if explicit else _user_dir("data")


def load_settings(path: Path | None = None, profile: str | None = None) -> Mapping[str, str]:
    """Values of `SETTINGS` by key; the file's ``[profile.NAME]`` table goes over its top level.

    `profile` None: the one that ``CLOUDACCEL_PROFILE`` names, if any.

    Raises
    ------
    ConfigError
        If the file cannot be read, is not TOML, or has a key or profile that does not exist.
    """
    file = _read_config(path, profile or os.environ.get("CLOUDACCEL_PROFILE"))
    return {s.key: os.environ.get(s.env) or file.get(s.key) or s.default for s in SETTINGS}


def _read_config(path: Path | None, profile: str | None) -> dict[str, str]:
    explicit = path is not None or "CLOUDACCEL_CONFIG" in os.environ
    path = path or config_path()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        # A home folder that belongs to somebody else (sudo keeps HOME) holds no settings of this user.
        if isinstance(error, PermissionError) and (explicit or profile):
            raise ConfigError(f"configuration file {path} cannot be read: {error.strerror}. Mend its mode.") from error
        if explicit or profile:
            raise ConfigError(
                f"configuration file {path} does not exist. Make it, or leave --config and --profile out."
            ) from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration file {path} cannot be read: {error}. Mend it, or pass --config.") from error
    import tomllib  # only when there is a file

    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: a figure of thousands of digits, too
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error
    return _checked(path, data, profile)


def _checked(path: Path, data: dict[str, object], profile: str | None) -> dict[str, str]:
    profiles = data.pop("profile", {})
    layers = [data]
    if profile:
        chosen = profiles.get(profile) if isinstance(profiles, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        if not isinstance(chosen, dict):
            raise ConfigError(f"{path} has no [profile.{profile}] table.")
        layers.append(chosen)  # pyright: ignore[reportUnknownArgumentType]
    known = {s.key for s in SETTINGS}
    values: dict[str, str] = {}
    for layer in layers:
        for key, value in layer.items():
            if key not in known:
                raise ConfigError(f"{path}: unknown setting {key!r}. Known: {', '.join(sorted(known))}.")
            values[key] = str(value)
    return values
