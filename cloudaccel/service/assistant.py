"""The MCP server: lists the tools, answers calls in threads, and says what went wrong as the result of the tool."""

import logging
import sys
from pathlib import Path

import anyio
import anyio.to_thread
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    ToolAnnotations,
)
from mcp.types import Tool as Listed

from cloudaccel import __version__
from cloudaccel.errors import CloudAccelError
from cloudaccel.service.asked import without_flags
from cloudaccel.service.tools import TOOLS

_LOG = logging.getLogger("cloudaccel.service")
_AT_ONCE = 2  # questions at work; further ones wait, since all are of one assistant
_INSTRUCTIONS = (
    "Prices and facts are those of the installed catalog: say their date (as_of) and source with a figure. "
    "null means not known, never zero; an unknown verdict is not a permission."
)
_BUG = "an unexpected error. What 'cloudaccel mcp' wrote to stderr has the details."
_HINTS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


def make_server(catalog: str | Path | None) -> Server[dict[str, object]]:
    """The server over one catalog; None: the settings, else the user's own."""
    limit = anyio.CapacityLimiter(_AT_ONCE)

    async def listed(_: ServerRequestContext[dict[str, object]], __: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[
            Listed(name=tool.name, description=tool.use, input_schema=tool.schema(), annotations=_HINTS)
            for tool in TOOLS.values()
        ])  # fmt: skip

    async def called(_: ServerRequestContext[dict[str, object]], params: CallToolRequestParams) -> CallToolResult:
        text, failed = await anyio.to_thread.run_sync(
            _answer, params.name, params.arguments or {}, catalog, limiter=limit, abandon_on_cancel=True
        )
        return CallToolResult(content=[TextContent(type="text", text=text)], is_error=failed)

    return Server(
        "cloudaccel", version=__version__, instructions=_INSTRUCTIONS, on_list_tools=listed, on_call_tool=called
    )


def _answer(name: str, arguments: dict[str, object], catalog: str | Path | None) -> tuple[str, bool]:
    """The text of the result, and whether it is an error."""
    if name not in TOOLS:
        return f"there is no tool {name!r}. Tools: {', '.join(TOOLS)}.", True
    try:
        return TOOLS[name].answer(arguments, catalog), False
    except CloudAccelError as error:
        said = without_flags(str(error))
        if error.choices and "did you mean" not in said.lower():
            said += f" Known names: {', '.join(error.choices)}."
        return said, True
    except Exception:  # the boundary of the process: stderr has the details, the assistant goes on
        _LOG.exception("%s", name)
        return _BUG, True


def serve(catalog: str | Path | None) -> None:
    """Answer on stdin and stdout until stdin ends."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    anyio.run(_serve, catalog)


async def _serve(catalog: str | Path | None) -> None:
    server = make_server(catalog)
    async with stdio_server() as (questions, answers):
        await server.run(questions, answers, server.create_initialization_options())
