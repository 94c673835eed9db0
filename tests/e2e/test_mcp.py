"""``cloudaccel mcp`` as a process, asked by the client of the official SDK: what an assistant gets to see."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters, stdio_client
from mcp.types import CallToolResult, TextContent

from cloudaccel.errors import QueryError
from cloudaccel.service.tools import TOOLS
from tests.support import PATIENCE_S, run

pytestmark = pytest.mark.slow
JOB = {"task": "finetune", "method": "lora", "model": "llama-3-8b", "tokens": "50e6"}
WAYS = ["api:price=0.90/Mtok", "rent:H100-SXM:8,throughput=6000tok/s"]
JUDGED = {"policy": ["eu-gdpr"], "headquarters": "FR", "users": "none"}
RULES = ["--policy", "eu-gdpr", "--headquarters", "FR", "--users", "none"]
CANARY = "canary-93"


def asked(work: Callable[[Client], Awaitable[Any]], *before: str) -> Any:
    """What `work` gets out of a server that was started for it."""

    async def main() -> Any:
        words = ["-m", "cloudaccel", *before, "mcp"]
        server = StdioServerParameters(command=sys.executable, args=words, env={**os.environ})
        async with Client(stdio_client(server)) as client:
            return await work(client)

    return anyio.run(main)


def called(name: str, arguments: dict[str, Any], *before: str) -> CallToolResult:
    """The result of one call, by a server started with `before` in front of the verb."""
    return asked(lambda client: client.call_tool(name, arguments), *before)


def text(result: CallToolResult) -> str:
    """The one text of a result."""
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def plain(body: dict[str, Any]) -> dict[str, Any]:
    """An answer without the moment at which it was made."""
    return {key: value for key, value in body.items() if key != "generated_at"}


def test_every_tool_is_listed_as_read_only_with_typed_arguments() -> None:
    async def listed(client: Client) -> Any:
        return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in asked(listed)}
    assert set(tools) == {"quote", "plan", "compare", "advise", "explain", "policy_list", "policy_explain"}
    assert all(tool.annotations.read_only_hint and tool.description for tool in tools.values())
    assert all(tool.input_schema["additionalProperties"] is False for tool in tools.values())
    job = tools["plan"].input_schema["properties"]["job"]
    assert job["properties"]["task"]["enum"] == ["pretrain", "continued_pretrain", "finetune", "serve"]
    assert "yes" in tools["advise"].input_schema["properties"]["answers"]["properties"]["own-data"]["enum"]


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("quote", {"accelerator": "H100:8", "residency": "EU", "limit": 3},
         ["quote", "H100:8", "--residency", "EU", "--limit", "3", "--json"]),
        ("quote", {"accelerator": "H100:8", "limit": 3, **JUDGED},
         ["quote", "H100:8", "--limit", "3", *RULES, "--json"]),
        ("compare", {"options": WAYS, "demand": "400M-tokens/month"},
         ["compare", "--option", WAYS[0], "--option", WAYS[1], "--demand", "400M-tokens/month", "--json"]),
        ("compare", {"options": ["rent:H100-SXM:8", "own:8xH100"], "country": "FR", "model": "llama-3-8b",
                     "input_tokens": 2000, "output_tokens": 100, **JUDGED},
         ["compare", "--option", "rent:H100-SXM:8", "--option", "own:8xH100", "--country", "FR", "--model",
          "llama-3-8b", "--input-tokens", "2000", "--output-tokens", "100", *RULES, "--json"]),
        ("policy_list", {}, ["policy", "list", "--json"]),
        ("advise", {"answers": {"own-data": False}}, ["advise", "--own-data", "no", "--json"]),
        ("advise", {"policy": ["de-vsa"], "residency": "DE"},
         ["advise", "--policy", "de-vsa", "--residency", "DE", "--json"]),
        ("explain", {"name": "v5p-8"}, ["explain", "v5p-8", "--json"]),
        ("policy_explain", {"places": ["lambda:us-east-1"], **JUDGED},
         ["policy", "explain", "lambda:us-east-1", *RULES, "--json"]),
    ],
)  # fmt: skip
def test_answers_are_the_json_of_the_command_line(name: str, arguments: dict[str, Any], words: list[str]) -> None:
    result = called(name, arguments)
    assert not result.is_error, text(result)
    assert plain(json.loads(text(result))) == plain(run(*words).json)


def test_a_plan_is_the_lock_without_what_only_proves_it() -> None:
    body = json.loads(text(called("plan", {"job": JOB, "filters": {"residency": "EU"}})))
    words = [word for key, value in JOB.items() for word in (f"--{key}", value)]
    lock = run("plan", *words, "--residency", "EU", "--limit", "3", "--lock", "-", "--json").json
    assert body["chosen"] == lock["chosen"]
    assert len(body["options"]) == len(lock["options"]) <= 3
    assert body["considered_count"] == len(lock["considered"])
    assert "considered" not in body


def test_an_unknown_price_is_null_and_never_first(tmp_path: Path) -> None:
    """An assistant that reads 0 for "not known" recommends the one seller that published nothing."""
    prices = tmp_path / "prices.csv"
    rows = ["provider,instance,accelerator,count,price_per_hour,as_of", "mine,silent,H100-SXM,8,,2026-09-01",
            "mine,box,H100-SXM,8,40,2026-09-01"]  # fmt: skip
    prices.write_text("\n".join(rows) + "\n", encoding="utf-8")
    offers = json.loads(text(called("quote", {"accelerator": "H100:8"}, "--catalog", str(prices))))["offers"]
    assert offers[0]["price"]["price_per_hour"] == "40"
    assert [o["price"]["price_per_hour"] for o in offers[1:]] in ([], [None])


def test_errors_are_results_that_say_what_to_mend() -> None:
    async def several(client: Client) -> list[CallToolResult]:
        return [
            await client.call_tool("quote", {"accelerator": "H1000"}),
            await client.call_tool("quote", {"acelerator": "H100"}),
            await client.call_tool("plan", {"job": {**JOB, "task": "bake"}}),
            await client.call_tool("provision", {}),
            await client.call_tool("explain", {"name": "H100"}),
        ]

    *wrong, right = asked(several)
    assert all(result.is_error for result in wrong)
    for result, said in zip(wrong, ("did you mean H100", "acelerator", "finetune", "policy_explain"), strict=True):
        assert said.lower() in text(result).lower()
        assert "--" not in text(result)
    assert not right.is_error


def test_a_closed_stdin_and_an_interrupt_end_it_at_once() -> None:
    command = [sys.executable, "-m", "cloudaccel", "mcp"]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, check=False, timeout=PATIENCE_S).returncode == 0
    hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}  # fmt: skip
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(hello) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["result"]["serverInfo"]["name"] == "cloudaccel"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130


@pytest.mark.parametrize(
    ("words", "package", "extra"),
    [
        (["mcp"], "mcp", "mcp"), (["serve"], "uvicorn", "service"), (["serve"], "fastapi", "service"),
        (["serve", "--auth", "jwt", "--jwt-issuer", "https://x.example", "--jwt-audience", "x", "--jwt-keys", "k"],
         "jwt", "service"),
    ],
)  # fmt: skip
def test_without_the_extra_it_says_what_to_install(words: list[str], package: str, extra: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None; from cloudaccel.cli import main; sys.exit(main({words!r}))"
    )  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert ended.returncode == 2
    assert ended.stderr == (
        f"error: {words[0]} needs the package {package}, which is not installed: pip install 'cloudaccel[{extra}]'.\n"
    )


def test_only_the_verb_itself_imports_the_sdk() -> None:
    code = (
        "import sys; from cloudaccel.cli import main; import cloudaccel.cli.mcp, cloudaccel.service.tools; "
        "main(['explain', 'H100', '--json']); sys.exit('mcp' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=PATIENCE_S).returncode
        == 0
    )


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("plan", {"job": {**JOB, "model": "{file}"}}),
        ("plan", {"job": {**JOB, " MODEL ": "{folder}"}}),
        ("plan", {"job": {**JOB, "policy": "{file}"}}),
        ("plan", {"job": {**JOB, "Policy": {"packs": "eu-gdpr,{file}"}}}),
        ("plan", {"job": JOB, "policy": ["{file}"]}),
        ("plan", {"job": JOB, "catalog": "{file}"}),
        ("quote", {"accelerator": "H100", "policy": ["{file}"]}),
        ("quote", {"accelerator": "H100", "price_file": "{file}"}),
        ("quote", {"accelerator": "{file}"}),
        ("compare", {"options": ["finetune:H100:8,tokens=1e9, model={file}"]}),
        ("compare", {"options": WAYS, "model": "{file}"}),
        ("advise", {"answers": {"file": "{file}"}}),
        ("explain", {"name": "{file}"}),
        ("explain", {"name": "H100", "price_file": "{file}"}),
        ("policy_explain", {"places": ["lambda:us-east-1"], "policy": ["{file}"]}),
        ("policy_explain", {"places": ["{file}"]}),
    ],
)
def test_no_question_names_a_file(tmp_path: Path, name: str, arguments: dict[str, Any]) -> None:
    """An assistant that was talked into asking for a path could otherwise read files, or learn which there are."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"hidden_size": CANARY, "id": CANARY}), encoding="utf-8")
    given = json.loads(json.dumps(arguments).replace("{file}", str(file)).replace("{folder}", str(tmp_path)))
    with pytest.raises(QueryError) as there:
        TOOLS[name].answer(given, None)
    assert CANARY not in str(there.value)
    file.unlink()
    with pytest.raises(QueryError) as gone:
        TOOLS[name].answer(given, None)
    assert str(gone.value) == str(there.value)
