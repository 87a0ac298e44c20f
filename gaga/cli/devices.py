"""The option `--device`: a name that no machine has is wrong usage."""

from gaga.cli.errors import usage_error
from gaga.core.errors import InvalidInput


def device_name(name: str) -> str:
    """The name, if it is one of a device.

    Raises:
        UsageError: it is none of auto, cpu, cuda, cuda:N, mps.
    """
    from gaga.runs.devices import parse_device

    try:
        parse_device(name)
    except InvalidInput as error:
        raise usage_error(f"invalid value for --device: {name!r}; {error.remedy}") from error
    return name
