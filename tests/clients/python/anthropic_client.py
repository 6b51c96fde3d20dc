"""The official Anthropic client against the gateway: messages, plain, streamed, with tools.

    python -m venv VENV && VENV/bin/pip install -r tests/clients/python/requirements.txt
    VENV/bin/python tests/clients/python/anthropic_client.py http://127.0.0.1:PORT

Behind the gateway stand two tiers, `large` and `small`, which both answer `recording.json`. One line is
printed per check; the first that fails ends the run with its traceback.
"""

import json
import sys
from pathlib import Path

import anthropic

TIERS = {"large", "small"}
RECORDING = json.loads((Path(__file__).parents[1] / "recording.json").read_text(encoding="utf-8"))
FLAG, LOG, WEATHER, RESULT, COAT, PIERS, HARBOUR = RECORDING
TOOLS = [
    {"name": function["name"], "description": function["description"], "input_schema": function["parameters"]}
    for function in (tool["function"] for tool in WEATHER["tools"])
]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "berths": {"type": "integer"}, "is_open": {"type": "boolean"}},
    "required": ["name", "berths", "is_open"],
    "additionalProperties": False,
}


def main():
    # A retry would hide a fault.
    client = anthropic.Anthropic(base_url=sys.argv[1].rstrip("/"), api_key="unused", max_retries=0, timeout=30)
    for check in [plain, model_names, system, stream, tools, tools_stream, tool_result, schema, unknown_model, bad_quality, bad_body]:
        check(client)
        print(f"anthropic python {anthropic.__version__}: {check.__name__}", flush=True)


def asked(row, **more):
    """The arguments of a call that asks what a row asks."""
    (user,) = [message for message in row["messages"] if message["role"] != "system"]
    return {"model": "auto", "max_tokens": 256, "messages": [user], **more}


def plain(client):
    raw = client.messages.with_raw_response.create(**asked(FLAG))
    assert raw.headers["x-tiercast-tier"] in TIERS, raw.headers
    assert raw.headers["x-tiercast-decision-id"], raw.headers
    reply = raw.parse()
    assert reply.type == "message" and reply.role == "assistant" and reply.id and reply.model, reply
    check_text(reply, FLAG)
    parts = [{"role": "user", "content": [{"type": "text", "text": FLAG["messages"][0]["content"]}]}]
    check_text(client.messages.create(model="auto", max_tokens=256, messages=parts), FLAG)


def check_text(reply, row):
    assert [(block.type, block.text) for block in reply.content] == [("text", row["text"])], reply
    assert reply.stop_reason == "end_turn", reply
    check_usage(reply, row)


def check_usage(reply, row):
    counts = (reply.usage.input_tokens, reply.usage.output_tokens)
    assert counts == (row["input_tokens"], row["output_tokens"]), reply.usage


def model_names(client):
    for model in ["auto:cheap", "auto:best", "auto:q=0.8", "large", "small"]:
        raw = client.messages.with_raw_response.create(**asked(FLAG, model=model))
        tier = raw.headers["x-tiercast-tier"]
        assert tier == model if model in TIERS else tier in TIERS, (model, tier)
        check_text(raw.parse(), FLAG)


def system(client):
    text = LOG["messages"][0]["content"]
    for system in [text, [{"type": "text", "text": text}]]:
        check_text(client.messages.create(**asked(LOG, system=system)), LOG)


def stream(client):
    with client.messages.stream(**asked(LOG, system=LOG["messages"][0]["content"])) as stream:
        assert stream.response.headers["x-tiercast-tier"] in TIERS, stream.response.headers
        pieces = list(stream.text_stream)
        reply = stream.get_final_message()
    assert len(pieces) > 1 and "".join(pieces) == LOG["text"], pieces
    check_text(reply, LOG)
    kinds = [event.type for event in client.messages.create(**asked(FLAG, stream=True)) if event.type != "ping"]
    edges = (kinds[:2], kinds[-3:])
    assert edges == (["message_start", "content_block_start"], ["content_block_stop", "message_delta", "message_stop"]), kinds


def tools(client):
    for row in [WEATHER, PIERS]:
        check_calls(client.messages.create(**asked(row, tools=TOOLS)), row)


def check_calls(reply, row):
    assert reply.stop_reason == "tool_use", reply
    assert [block.type for block in reply.content] == ["tool_use"] * len(row["tool_calls"]), reply
    assert [block.name for block in reply.content] == ["get_weather"] * len(reply.content), reply
    assert len({block.id for block in reply.content}) == len(reply.content), reply
    arguments = [json.loads(call["function"]["arguments"]) for call in row["tool_calls"]]
    assert [block.input for block in reply.content] == arguments, reply
    check_usage(reply, row)


def tools_stream(client):
    for row in [WEATHER, PIERS]:
        with client.messages.stream(**asked(row, tools=TOOLS, tool_choice={"type": "auto"})) as stream:
            check_calls(stream.get_final_message(), row)


def tool_result(client):
    block = client.messages.create(**asked(WEATHER, tools=TOOLS)).content[0]
    recorded = RESULT["messages"][1]["tool_calls"][0]
    # A person says something after the result; an agent sends it alone.
    for row, more, call_id, arguments in [
        (COAT, [{"type": "text", "text": COAT["messages"][3]["content"]}], block.id, block.input),
        (RESULT, [], recorded["id"], json.loads(recorded["function"]["arguments"])),
    ]:
        called = {"type": "tool_use", "id": call_id, "name": "get_weather", "input": arguments}
        result = {"type": "tool_result", "tool_use_id": call_id, "content": row["messages"][2]["content"]}
        turns = [row["messages"][0], {"role": "assistant", "content": [called]}, {"role": "user", "content": [result, *more]}]
        again = {"model": "auto", "max_tokens": 256, "messages": turns, "tools": TOOLS}
        check_text(client.messages.create(**again), row)
        with client.messages.stream(**again) as stream:
            check_text(stream.get_final_message(), row)


def schema(client):
    wanted = {"format": {"type": "json_schema", "schema": SCHEMA}}
    reply = client.messages.create(**asked(HARBOUR, output_config=wanted))
    assert json.loads(reply.content[0].text) == json.loads(HARBOUR["text"]), reply


def unknown_model(client):
    for stream in [False, True]:
        error = refusal(lambda: client.messages.create(**asked(FLAG, model="enormous", stream=stream)), anthropic.NotFoundError)
        assert error["type"] == "not_found_error", error
        assert TIERS <= set(words(error["message"])), error


def refusal(call, kind):
    """The error of a call. Its body is Anthropic's."""
    try:
        call()
    except kind as error:
        assert error.body["type"] == "error" and error.body["error"]["message"], error.body
        return error.body["error"]
    raise AssertionError(f"{kind.__name__} was to come")


def words(text):
    return "".join(letter if letter.isalnum() else " " for letter in text).split()


def bad_quality(client):
    header = {"x-tiercast-quality": "2"}
    error = refusal(lambda: client.messages.create(**asked(FLAG, extra_headers=header)), anthropic.BadRequestError)
    assert error["type"] == "invalid_request_error" and "quality" in error["message"], error


def bad_body(client):
    error = refusal(lambda: client.messages.create(model="auto", max_tokens=256, messages=[]), anthropic.BadRequestError)
    assert error["type"] == "invalid_request_error", error


if __name__ == "__main__":
    main()
