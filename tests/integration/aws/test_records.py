"""Records of S3 and SQS, in process and through the emulator: results in S3, failures where they came from."""

from __future__ import annotations

import base64
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import pytest

from infra.emulator import Emulator, EmulatorError
from tests.contract.client import Client, new_client

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.aws.servers import Proxy

EVENTS = Path(__file__).parents[2] / "events"
SUFFIX = ".prediction.json"
PNG = base64.b64decode(json.loads((EVENTS / "function_url_base64.json").read_text())["body"])
REQUEST = json.dumps({"image": base64.b64encode(PNG).decode()})


class Context:
    """Lambda's, with so many milliseconds left, fewer by `step` each time it is asked."""

    aws_request_id = "an-invocation"

    def __init__(self, left: int = 30_000, step: int = 0) -> None:
        self.left, self.step = left, step

    def get_remaining_time_in_millis(self) -> int:
        self.left -= self.step
        return self.left


@pytest.fixture
def function(digits_prepared: Path, variables: dict[str, str]) -> Client:
    return new_client(digits_prepared, **variables)


@pytest.fixture
def prediction(function: Client) -> bytes:
    """What the picture's result must be, byte for byte."""
    return function.post("/classify", PNG).body


def s3_event(bucket: str, *keys: str, name: str = "ObjectCreated:Put") -> dict[str, Any]:
    """The event of `sam local generate-event s3 put`, for these objects; S3 percent-encodes the key."""
    template = json.loads((EVENTS / "s3_put.json").read_text())["Records"][0]
    records = []
    for key in keys:
        record = json.loads(json.dumps(template)) | {"eventName": name}
        record["s3"]["bucket"]["name"], record["s3"]["object"]["key"] = bucket, quote_plus(key, safe="/")
        records.append(record)
    return {"Records": records}


def eventbridge_event(bucket: str, key: str, kind: str = "Object Created") -> dict[str, Any]:
    """After "EventBridge event message structure" in the S3 user guide; the key is as it is."""
    detail = {"version": "0", "bucket": {"name": bucket}, "object": {"key": key, "size": 5, "sequencer": "617f08"}}
    return {"version": "0", "id": "17793124", "detail-type": kind, "source": "aws.s3", "detail": detail}


def sqs_event(*bodies: str, queue: str = "MyQueue", groups: tuple[str, ...] = ()) -> dict[str, Any]:
    """The event of `sam local generate-event sqs receive-message`, with messages 0, 1, ..."""
    template = json.loads((EVENTS / "sqs.json").read_text())["Records"][0]
    records = []
    for number, body in enumerate(bodies):
        record = json.loads(json.dumps(template)) | {"messageId": f"message-{number}", "body": body}
        record["eventSourceARN"] = f"arn:aws:sqs:us-east-1:123456789012:{queue}"
        if groups:
            record["attributes"]["MessageGroupId"] = groups[number]
        records.append(record)
    return {"Records": records}


def objects(s3: Any, bucket: str) -> dict[str, bytes]:
    found = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {each["Key"]: s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in found}


def failed(answer: dict[str, Any]) -> list[str]:
    assert list(answer) == ["batchItemFailures"]
    return [item["itemIdentifier"] for item in answer["batchItemFailures"]]


def test_an_object_through_the_emulator_and_the_same_once_more(
    s3: Any, bucket: str, variables: dict[str, str], digits_prepared: Path, prediction: bytes
) -> None:
    s3.put_object(Bucket=bucket, Key="in/one digit é+.png", Body=PNG)
    event = json.dumps(s3_event(bucket, "in/one digit é+.png")).encode()
    with Emulator(env=variables) as emulator:
        results = []
        for _ in range(2):
            assert json.loads(emulator.invoke(event)) == {}
            results.append(objects(s3, bucket))
    key = f"in/one digit é+.png{SUFFIX}"
    assert results[0] == {"in/one digit é+.png": PNG, key: prediction}
    assert results[1] == results[0]
    head = s3.head_object(Bucket=bucket, Key=key)
    assert head["Metadata"] == {"model": "digits", "model-version": "1"}
    assert head["ContentType"] == "application/json"


def test_the_event_of_sam_as_it_is(s3: Any, function: Client, prediction: bytes) -> None:
    s3.create_bucket(Bucket="pictures")
    s3.put_object(Bucket="pictures", Key="in/one digit.png", Body=PNG)
    assert function.handler(json.loads((EVENTS / "s3_put.json").read_text()), Context()) == {}
    assert objects(s3, "pictures")[f"in/one digit.png{SUFFIX}"] == prediction


def test_a_failed_object_is_named_and_its_neighbours_are_done(
    s3: Any, bucket: str, function: Client, prediction: bytes
) -> None:
    s3.put_object(Bucket=bucket, Key="good.png", Body=PNG)
    s3.put_object(Bucket=bucket, Key="bad.png", Body=b"no picture")
    with pytest.raises(Exception, match=r"2 of the event's objects failed") as caught:
        function.handler(s3_event(bucket, "bad.png", "gone.png", "good.png"), Context())
    assert type(caught.value).__name__ == "RecordsError"
    message = str(caught.value)
    assert f"s3://{bucket}/bad.png: the picture" in message
    assert f"s3://{bucket}/gone.png: s3 answered GET /{bucket}/gone.png with 404 NoSuchKey" in message
    assert set(objects(s3, bucket)) == {"good.png", "bad.png", f"good.png{SUFFIX}"}
    assert objects(s3, bucket)[f"good.png{SUFFIX}"] == prediction


def test_results_go_where_result_uri_says(
    s3: Any, bucket: str, variables: dict[str, str], digits_prepared: Path, prediction: bytes
) -> None:
    s3.create_bucket(Bucket=f"{bucket}-results")
    s3.put_object(Bucket=bucket, Key="a/b.png", Body=PNG)
    function = new_client(digits_prepared, **variables, RESULT_URI=f"s3://{bucket}-results/some/where")
    function.handler(s3_event(bucket, "a/b.png"), Context())
    assert objects(s3, f"{bucket}-results") == {f"some/where/{bucket}/a/b.png{SUFFIX}": prediction}
    assert set(objects(s3, bucket)) == {"a/b.png"}


def test_a_result_is_never_an_input(s3: Any, bucket: str, function: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """As when the notification's filter covers the results too: the loop ends here."""
    s3.put_object(Bucket=bucket, Key="one.png", Body=PNG)
    function.handler(s3_event(bucket, "one.png"), Context())
    before = objects(s3, bucket)
    assert function.handler(s3_event(bucket, f"one.png{SUFFIX}"), Context()) == {}
    assert objects(s3, bucket) == before
    assert "is a result and is no input; narrow the notification's prefix" in capsys.readouterr().err


def test_eventbridge_tells_of_an_object_too(s3: Any, bucket: str, function: Client, prediction: bytes) -> None:
    s3.put_object(Bucket=bucket, Key="in/one+digit 100%.png", Body=PNG)
    assert function.handler(eventbridge_event(bucket, "in/one+digit 100%.png"), Context()) == {}
    assert objects(s3, bucket)[f"in/one+digit 100%.png{SUFFIX}"] == prediction
    assert function.handler(eventbridge_event(bucket, "gone", "Object Deleted"), Context()) == {}


def test_other_notifications_of_s3_are_no_work(function: Client, bucket: str) -> None:
    assert function.handler(s3_event(bucket, "x", name="ObjectRemoved:Delete"), Context()) == {}
    assert function.handler({"Records": []}, Context()) == {}


def test_an_object_may_be_a_request_in_json(s3: Any, bucket: str, function: Client, prediction: bytes) -> None:
    s3.put_object(Bucket=bucket, Key="request.json", Body=REQUEST.encode())
    function.handler(s3_event(bucket, "request.json"), Context())
    assert objects(s3, bucket)[f"request.json{SUFFIX}"] == prediction


def test_an_object_that_is_too_large_is_not_read(
    s3: Any, bucket: str, variables: dict[str, str], digits_prepared: Path
) -> None:
    s3.put_object(Bucket=bucket, Key="large.png", Body=b"x" * 1001)
    function = new_client(digits_prepared, **variables, MAX_BODY_BYTES="1000")
    with pytest.raises(Exception, match="has 1001 bytes, at most 1000 are taken"):
        function.handler(s3_event(bucket, "large.png"), Context())


@pytest.mark.parametrize("source", ["aws:kinesis", "aws:sns"])
def test_records_of_others_are_refused(function: Client, source: str) -> None:
    with pytest.raises(Exception, match=f"records of {source} are not served"):
        function.handler({"Records": [{"eventSource": source}]}, Context())


BAD = {3: "no JSON", 5: json.dumps({"image": "bm8gcGljdHVyZQ=="}), 8: json.dumps({"inputs": [{"name": "wrong"}]})}
BATCH = [BAD.get(number, REQUEST) for number in range(10)]


@pytest.mark.parametrize("way", ["process", "emulator"])
def test_of_ten_messages_the_three_bad_ones_go_back(
    s3: Any, bucket: str, variables: dict[str, str], digits_prepared: Path, prediction: bytes, way: str
) -> None:
    variables |= {"RESULT_URI": f"s3://{bucket}/out/"}
    if way == "process":
        answer = new_client(digits_prepared, **variables).handler(sqs_event(*BATCH), Context())
    else:
        with Emulator(env=variables) as emulator:
            answer = json.loads(emulator.invoke(json.dumps(sqs_event(*BATCH)).encode()))
    assert failed(answer) == [f"message-{number}" for number in BAD]
    good = set(range(10)) - set(BAD)
    assert objects(s3, bucket) == {f"out/message-{number}{SUFFIX}": prediction for number in good}


def test_the_log_says_why_a_message_went_back(
    bucket: str, variables: dict[str, str], digits_prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    function = new_client(digits_prepared, **variables, RESULT_URI=f"s3://{bucket}/")
    function.handler(sqs_event("no JSON", REQUEST), Context())
    bad, good = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (bad["source"], bad["record"], bad["status"]) == ("sqs", "message-0", 400)
    assert bad["request_id"] == "an-invocation"
    assert bad["error"].startswith("expected JSON:")
    assert (good["record"], good["route"], good["model"]) == ("message-1", "/classify", "digits")
    assert (bad["cold"], good["cold"]) == (True, False)


def test_messages_may_point_to_objects(s3: Any, bucket: str, function: Client, prediction: bytes) -> None:
    for name in ("a", "b c", "d"):
        s3.put_object(Bucket=bucket, Key=f"{name}.png", Body=PNG)
    bodies = [
        json.dumps({"uri": f"s3://{bucket}/a.png"}),
        json.dumps(s3_event(bucket, "b c.png")),
        json.dumps(eventbridge_event(bucket, "d.png")),
        json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": bucket}),
        json.dumps({"uri": "https://elsewhere/a.png"}),
        json.dumps({"uri": f"s3://{bucket}/gone.png"}),
        json.dumps(s3_event(bucket, "a.png", "gone.png")),
        json.dumps({"Records": [{"eventSource": "aws:s3"}]}),
    ]
    answer = function.handler(sqs_event(*bodies), Context())
    assert failed(answer) == [f"message-{number}" for number in (4, 5, 6, 7)]
    results = {f"{name}.png{SUFFIX}": prediction for name in ("a", "b c", "d")}
    assert objects(s3, bucket) == {f"{name}.png": PNG for name in ("a", "b c", "d")} | results


def test_without_result_uri_a_request_goes_back(
    function: Client, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failed(function.handler(sqs_event(REQUEST), Context())) == ["message-0"]
    assert "RESULT_URI is not set" in json.loads(capsys.readouterr().out)["error"]


def test_what_follows_a_failure_in_a_fifo_group_waits_for_it(
    s3: Any, bucket: str, variables: dict[str, str], digits_prepared: Path
) -> None:
    function = new_client(digits_prepared, **variables, RESULT_URI=f"s3://{bucket}/")
    event = sqs_event(REQUEST, "bad", REQUEST, REQUEST, queue="MyQueue.fifo", groups=("a", "a", "b", "a"))
    assert failed(function.handler(event, Context())) == ["message-1", "message-3"]
    assert set(objects(s3, bucket)) == {f"message-0{SUFFIX}", f"message-2{SUFFIX}"}


def test_the_rest_is_handed_back_when_time_is_short(
    s3: Any, bucket: str, variables: dict[str, str], digits_prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    function = new_client(digits_prepared, **variables, RESULT_URI=f"s3://{bucket}/")
    function.post("/classify", PNG)  # loaded: no record is slow
    capsys.readouterr()
    answer = function.handler(sqs_event(*[REQUEST] * 5), Context(left=4000, step=1000))
    assert failed(answer) == ["message-3", "message-4"]  # 3,000, 2,000 and 1,000 ms were enough
    assert len(objects(s3, bucket)) == 3
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "handed back: -1000 ms are left, a record may take 1000" in last["error"]


def test_killed_in_the_middle_and_delivered_again(
    s3: Any, bucket: str, variables: dict[str, str], digits_prepared: Path, proxy: Proxy, prediction: bytes
) -> None:
    def slow(method: str, _path: str, body: bytes) -> bytes:
        time.sleep(0.1 if method == "PUT" else 0)
        return body

    proxy.misbehave = slow
    variables |= {"RESULT_URI": f"s3://{bucket}/", "AWS_ENDPOINT_URL": proxy.url}
    event = json.dumps(sqs_event(*[REQUEST] * 10)).encode()
    answers: list[object] = []

    def invoke(emulator: Emulator) -> None:
        try:
            answers.append(json.loads(emulator.invoke(event)))
        except EmulatorError as error:
            answers.append(error)

    with Emulator(env=variables) as emulator:
        thread = threading.Thread(target=invoke, args=(emulator,))
        thread.start()
        _wait_until(lambda: len(objects(s3, bucket)) >= 3)
        for pid in emulator.pids():
            if pid != emulator.pid:
                os.kill(pid, signal.SIGKILL)
        thread.join()
        assert 3 <= len(objects(s3, bucket)) < 10
        (broken,) = answers
        assert isinstance(broken, EmulatorError) or "errorType" in broken  # type: ignore[operator]
    with Emulator(env=variables) as emulator:
        assert failed(json.loads(emulator.invoke(event))) == []
    assert objects(s3, bucket) == {f"message-{number}{SUFFIX}": prediction for number in range(10)}


def _wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_real_queue_gets_the_bad_messages_back(
    client: Callable[[str], Any], bucket: str, variables: dict[str, str], digits_prepared: Path, s3: Any
) -> None:
    """As Lambda's poller does it: what is not reported is deleted, the rest ends in the dead-letter queue."""
    sqs = client("sqs")
    dead = sqs.create_queue(QueueName=f"{bucket}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "2"})
    attributes = {"RedrivePolicy": redrive, "VisibilityTimeout": "0"}
    url = sqs.create_queue(QueueName=bucket, Attributes=attributes)["QueueUrl"]
    for body in ("bad", REQUEST, REQUEST):
        sqs.send_message(QueueUrl=url, MessageBody=body)
    function = new_client(digits_prepared, **variables, RESULT_URI=f"s3://{bucket}/")
    for _ in range(3):
        received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        if not received:
            break
        records = [{"messageId": m["MessageId"], "body": m["Body"], "eventSource": "aws:sqs"} for m in received]
        again = failed(function.handler({"Records": records}, Context()))
        for message in received:
            if message["MessageId"] not in again:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert [m["Body"] for m in sqs.receive_message(QueueUrl=dead).get("Messages", [])] == ["bad"]
    assert len(objects(s3, bucket)) == 2


@pytest.mark.parametrize("field", ["bucket", "object"])
def test_a_name_that_is_no_string_is_refused(digits_prepared: Path, field: str) -> None:
    deep: Any = "x"
    for _ in range(3000):
        deep = {"a": deep}
    event = eventbridge_event("bucket", "key")
    event["detail"][field] = {"name": deep, "key": deep}
    with pytest.raises(Exception, match="a name must be a string, not dict") as caught:
        new_client(digits_prepared).handler(event, Context())
    assert type(caught.value).__name__ == "RecordsError"


@pytest.mark.parametrize("others", ["text", [5], [{"eventSource": "aws:sqs"}], {}])
def test_an_event_of_eventbridge_has_no_records(digits_prepared: Path, others: Any) -> None:
    event = eventbridge_event("bucket", "key", "Object Deleted") | {"Records": others}
    assert new_client(digits_prepared).handler(event, Context()) == {}


@pytest.mark.parametrize("records", [[5], [None], ["x"], [{}], [{"eventSource": 5}], {"a": 1}, "records", 5])
def test_records_that_name_no_source_are_answered(digits_prepared: Path, records: Any) -> None:
    answer = json.loads(new_client(digits_prepared).handler({"Records": records}, Context()))
    assert "expected an HTTP event" in answer["error"]


@pytest.mark.parametrize("message", [{}, {"messageId": 5, "body": "{}"}, {"body": "{}"}])
def test_a_message_without_an_id_fails_the_whole_batch(digits_prepared: Path, message: dict[str, Any]) -> None:
    event = sqs_event(REQUEST)
    event["Records"].append(message | {"eventSource": "aws:sqs"})
    assert failed(new_client(digits_prepared).handler(event, Context())) == [""]  # as AWS names all of them


ODD = ({"body": None}, {"body": 5}, {"attributes": 5}, {"attributes": {"MessageGroupId": 5}})


@pytest.mark.parametrize("changes", ODD)
def test_a_message_of_another_form_fails_alone(
    digits_prepared: Path, variables: dict[str, str], bucket: str, changes: dict[str, Any]
) -> None:
    function = new_client(digits_prepared, **variables, RESULT_URI=f"s3://{bucket}/results")
    event = sqs_event(REQUEST, REQUEST)
    event["Records"][0] |= changes
    assert failed(function.handler(event, Context())) == (["message-0"] if "body" in changes else [])
