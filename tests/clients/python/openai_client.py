"""The official OpenAI client against the gateway: chat and responses, plain, streamed, with tools.

    python -m venv VENV && VENV/bin/pip install -r tests/clients/python/requirements.txt
    VENV/bin/python tests/clients/python/openai_client.py http://127.0.0.1:PORT

Behind the gateway stand two tiers, `large` and `small`, which both answer `recording.json`. One line is
printed per check; the first that fails ends the run with its traceback.
"""

import asyncio
import json
import sys
from pathlib import Path

import openai
from pydantic import BaseModel

TIERS = {"large", "small"}
RECORDING = json.loads((Path(__file__).parents[1] / "recording.json").read_text(encoding="utf-8"))
FLAG, LOG, WEATHER, RESULT, COAT, PIERS, HARBOUR = RECORDING
TOOLS = WEATHER["tools"]
# The Responses API has no `function` level.
FLAT_TOOLS = [{"type": "function", "strict": False, **tool["function"]} for tool in TOOLS]


class Harbour(BaseModel):
    name: str
    berths: int
    is_open: bool


def main():
    base_url = sys.argv[1].rstrip("/") + "/v1"
    # A retry would hide a fault.
    options = {"base_url": base_url, "api_key": "unused", "max_retries": 0, "timeout": 30}
    client = openai.OpenAI(**options)
    checks = [models, chat, model_names, chat_stream, usage_of_streams, chat_tools, chat_tools_stream, chat_tool_result,
              chat_schema, responses, responses_stream, responses_tools, responses_tools_stream, responses_tool_result, responses_schema,
              unknown_model, bad_quality, bad_body]
    for check in checks:
        check(client)
        done(check.__name__)
    asyncio.run(at_once(openai.AsyncOpenAI(**options)))
    done("at_once")


def done(name):
    print(f"openai python {openai.__version__}: {name}", flush=True)


def models(client):
    names = [model.id for model in client.models.list()]
    assert "auto" in names, names
    assert TIERS <= set(names), names


def chat(client):
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=FLAG["messages"], temperature=0)
    assert raw.headers["x-tiercast-tier"] in TIERS, raw.headers
    assert raw.headers["x-tiercast-decision-id"], raw.headers
    reply = raw.parse()
    assert reply.object == "chat.completion" and reply.id and reply.model, reply
    assert reply.choices[0].message.role == "assistant", reply
    assert reply.choices[0].message.content == FLAG["text"], reply
    assert not reply.choices[0].message.tool_calls, reply
    assert reply.choices[0].finish_reason == "stop", reply
    check_chat_usage(reply.usage, FLAG)


def check_chat_usage(usage, row):
    counts = (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)
    assert counts == (row["input_tokens"], row["output_tokens"], sum(counts[:2])), usage


def model_names(client):
    for model in ["auto:cheap", "auto:best", "auto:q=0.8", "large", "small"]:
        raw = client.chat.completions.with_raw_response.create(model=model, messages=LOG["messages"])
        tier = raw.headers["x-tiercast-tier"]
        assert tier == model if model in TIERS else tier in TIERS, (model, tier)
        assert raw.parse().choices[0].message.content == LOG["text"], model


def chat_stream(client):
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=LOG["messages"], stream=True)
    assert raw.headers["content-type"].startswith("text/event-stream"), raw.headers
    assert raw.headers["x-tiercast-tier"] in TIERS, raw.headers
    chunks = list(raw.parse())
    choices = [choice for chunk in chunks for choice in chunk.choices]
    pieces = [choice.delta.content for choice in choices if choice.delta.content]
    assert len(pieces) > 1 and "".join(pieces) == LOG["text"], pieces
    assert choices[0].delta.role == "assistant", choices[0]
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"], choices
    assert choices[-1].finish_reason == "stop", choices[-1]
    assert len({chunk.id for chunk in chunks}) == 1, "one id for all chunks"
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}, chunks


def usage_of_streams(client):
    def usages(**options):
        chunks = list(client.chat.completions.create(model="auto", messages=LOG["messages"], stream=True, **options))
        return [chunk for chunk in chunks if chunk.usage], chunks

    (last,), chunks = usages(stream_options={"include_usage": True})
    assert last is chunks[-1] and not last.choices, "usage comes last, in a chunk of its own"
    check_chat_usage(last.usage, LOG)
    for options in [{}, {"stream_options": {"include_usage": False}}]:
        found, chunks = usages(**options)
        assert not found and all(chunk.choices for chunk in chunks), "no usage that was not asked for"


def chat_tools(client):
    for row in [WEATHER, PIERS]:
        reply = client.chat.completions.create(model="auto", messages=row["messages"], tools=TOOLS)
        choice = reply.choices[0]
        assert choice.finish_reason == "tool_calls" and not choice.message.content, choice
        check_calls([call.model_dump() for call in choice.message.tool_calls], row)
        check_chat_usage(reply.usage, row)


def check_calls(calls, row):
    assert [call["id"] for call in calls] == [call["id"] for call in row["tool_calls"]], calls
    assert [call["function"]["name"] for call in calls] == ["get_weather"] * len(calls), calls
    arguments = [json.loads(call["function"]["arguments"]) for call in calls]
    assert arguments == recorded_arguments(row), arguments


def recorded_arguments(row):
    return [json.loads(call["function"]["arguments"]) for call in row["tool_calls"]]


def chat_tools_stream(client):
    for row in [WEATHER, PIERS]:
        with client.chat.completions.stream(model="auto", messages=row["messages"], tools=TOOLS) as stream:
            for _ in stream:
                pass
            choice = stream.get_final_completion().choices[0]
        assert choice.finish_reason == "tool_calls", choice
        check_calls([call.model_dump() for call in choice.message.tool_calls], row)


def chat_tool_result(client):
    call = client.chat.completions.create(model="auto", messages=WEATHER["messages"], tools=TOOLS).choices[0].message.tool_calls[0]
    called = {"role": "assistant", "content": None, "tool_calls": [call.model_dump(include={"id", "type", "function"})]}
    result = {"role": "tool", "tool_call_id": call.id, "content": COAT["messages"][2]["content"]}
    # A person says something after the result; an agent sends it alone.
    for row, messages in [(COAT, [*WEATHER["messages"], called, result, COAT["messages"][3]]), (RESULT, RESULT["messages"])]:
        reply = client.chat.completions.create(model="auto", messages=messages, tools=TOOLS)
        assert reply.choices[0].message.content == row["text"], reply
        assert reply.choices[0].finish_reason == "stop", reply
        chunks = client.chat.completions.create(model="auto", messages=messages, tools=TOOLS, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == row["text"], row["text"]


def chat_schema(client):
    reply = client.chat.completions.parse(model="auto", messages=HARBOUR["messages"], response_format=Harbour)
    assert reply.choices[0].message.parsed == Harbour(**json.loads(HARBOUR["text"])), reply


def responses(client):
    raw = client.responses.with_raw_response.create(model="auto", input=FLAG["messages"][0]["content"])
    assert raw.headers["x-tiercast-tier"] in TIERS, raw.headers
    reply = raw.parse()
    assert reply.object == "response" and reply.status == "completed" and reply.error is None, reply
    assert reply.output_text == FLAG["text"], reply
    check_responses_usage(reply.usage, FLAG)
    system, user = LOG["messages"]
    reply = client.responses.create(model="large", instructions=system["content"], input=[user])
    assert reply.output_text == LOG["text"], reply


def check_responses_usage(usage, row):
    counts = (usage.input_tokens, usage.output_tokens, usage.total_tokens)
    assert counts == (row["input_tokens"], row["output_tokens"], sum(counts[:2])), usage


def responses_stream(client):
    system, user = LOG["messages"]
    with client.responses.stream(model="auto", instructions=system["content"], input=[user]) as stream:
        events = list(stream)
        reply = stream.get_final_response()
    kinds = [event.type for event in events]
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed", kinds
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(pieces) > 1 and "".join(pieces) == LOG["text"] == reply.output_text, pieces
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers)), numbers
    check_responses_usage(reply.usage, LOG)


def responses_tools(client):
    for row in [WEATHER, PIERS]:
        reply = client.responses.create(model="auto", input=row["messages"], tools=FLAT_TOOLS)
        check_items(reply.output, row)
        assert not reply.output_text, reply
        check_responses_usage(reply.usage, row)


def responses_tool_result(client):
    call = client.responses.create(model="auto", input=WEATHER["messages"], tools=FLAT_TOOLS).output[0]
    recorded = RESULT["messages"][1]["tool_calls"][0]
    for row, more, call_id, arguments in [
        (COAT, [COAT["messages"][3]], call.call_id, call.arguments),
        (RESULT, [], recorded["id"], recorded["function"]["arguments"]),
    ]:
        called = {"type": "function_call", "call_id": call_id, "name": "get_weather", "arguments": arguments}
        result = {"type": "function_call_output", "call_id": call_id, "output": row["messages"][2]["content"]}
        reply = client.responses.create(model="auto", input=[row["messages"][0], called, result, *more], tools=FLAT_TOOLS)
        assert reply.output_text == row["text"], reply


def check_items(items, row):
    assert [item.type for item in items] == ["function_call"] * len(row["tool_calls"]), items
    assert [item.call_id for item in items] == [call["id"] for call in row["tool_calls"]], items
    assert [item.name for item in items] == ["get_weather"] * len(items), items
    assert [json.loads(item.arguments) for item in items] == recorded_arguments(row), items


def responses_tools_stream(client):
    for row in [WEATHER, PIERS]:
        with client.responses.stream(model="auto", input=row["messages"], tools=FLAT_TOOLS) as stream:
            kinds = [event.type for event in stream]
            reply = stream.get_final_response()
        assert kinds.count("response.function_call_arguments.done") == len(row["tool_calls"]), kinds
        check_items(reply.output, row)


def responses_schema(client):
    reply = client.responses.parse(model="auto", input=HARBOUR["messages"], text_format=Harbour)
    assert reply.output_parsed == Harbour(**json.loads(HARBOUR["text"])), reply


def unknown_model(client):
    calls = [
        lambda: client.chat.completions.create(model="enormous", messages=FLAG["messages"]),
        lambda: client.chat.completions.create(model="enormous", messages=FLAG["messages"], stream=True),
        lambda: client.responses.create(model="enormous", input="Hello"),
    ]
    for call in calls:
        error = refusal(call, openai.NotFoundError)
        assert TIERS <= set(words(error.message)), error.message


def refusal(call, kind):
    """The error of a call. Its body is OpenAI's: `message` and `type`, and no stack of ours."""
    try:
        call()
    except kind as error:
        assert isinstance(error.body, dict) and error.body["message"] and error.body["type"], error.body
        return error
    raise AssertionError(f"{kind.__name__} was to come")


def words(text):
    return "".join(letter if letter.isalnum() else " " for letter in text).split()


def bad_quality(client):
    header = {"x-tiercast-quality": "2"}
    call = lambda: client.chat.completions.create(model="auto", messages=FLAG["messages"], extra_headers=header)
    assert "quality" in refusal(call, openai.BadRequestError).message


def bad_body(client):
    refusal(lambda: client.chat.completions.create(model="auto", messages=[]), openai.BadRequestError)
    refusal(lambda: client.chat.completions.create(model="auto", messages="Hello"), openai.BadRequestError)


async def at_once(client):
    """Sixteen calls on shared connections get their own answers."""
    rows = [FLAG, LOG] * 8
    calls = [client.chat.completions.create(model="auto", messages=row["messages"]) for row in rows]
    replies = await asyncio.gather(*calls)
    assert [reply.choices[0].message.content for reply in replies] == [row["text"] for row in rows]


if __name__ == "__main__":
    main()
