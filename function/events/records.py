"""Records of S3, SQS and Kinesis: which objects and requests they mean, and which go back to where they came from.

Formats: docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html and ev-events.html,
docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html and kinesis-tutorial-spec.html.
"""

from __future__ import annotations

import json
from urllib.parse import unquote_plus

from pybase64 import b64decode

from function.events.batch import BatchItem, BatchProcessor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from function.app import App

    Event = dict[str, Any]

_WHOLE_BATCH = ""  # as an item's identifier, it tells Lambda that all messages failed


class RecordsError(Exception):
    """Records of S3 failed: Lambda invokes again, and in the end hands event and message to the failure destination."""


def accepts(event: Event) -> bool:
    """Whether the event has records that name their source, or is EventBridge's of S3."""
    records = event.get("Records")
    if event.get("source") == "aws.s3":
        return True
    return isinstance(records, list) and all(
        isinstance(record, dict) and isinstance(record.get("eventSource"), str) for record in records
    )


def answer_records(app: App, event: Event, context: Any, *, cold: bool) -> Event:
    """What Lambda wants to know: `batchItemFailures` for SQS, where each message fails alone, and for Kinesis, which
    delivers all again from the first that failed; nothing for S3.

    RecordsError names each object of S3 that failed and why, once all have been tried. `context` is Lambda's.
    """
    processor = BatchProcessor(app, context, cold=cold)
    records = None if event.get("source") == "aws.s3" else event.get("Records")  # as `_created` takes it
    source = records[0]["eventSource"] if records else ""
    if records and (source == "aws:sqs" or (source == "aws:kinesis" and app.settings.features_from_records)):
        failed = (_failed_messages if source == "aws:sqs" else _failed_in_shard)(processor, records)
        return {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}
    failures = [f"{item.name}: {reason}" for item in _created(event) if (reason := processor.run(item))]
    if failures:
        raise RecordsError(f"{len(failures)} of the event's objects failed: {'; '.join(failures)}")
    return {}


def _failed_messages(processor: BatchProcessor, messages: list[Event]) -> list[str]:
    """The ids of the messages that failed or were not begun; _WHOLE_BATCH where one cannot be named."""
    if not all(isinstance(message.get("messageId"), str) for message in messages):
        processor.defer("sqs", "", "a message of the batch has no messageId")
        return [_WHOLE_BATCH]
    failed: list[str] = []
    stopped_groups = set()
    for message in messages:
        name = message["messageId"]
        # FIFO queues: after a failure, later messages of its group must not be answered before it is.
        group = _attribute(message, "MessageGroupId")
        if group is not None and group in stopped_groups:
            processor.defer("sqs", name, "a message before it in its group failed")
        else:
            reasons = [processor.run(item) for item in _items(message)]  # all are tried
            if not any(reasons):
                continue
        failed.append(name)
        stopped_groups.add(group)
    return failed


def _failed_in_shard(processor: BatchProcessor, records: list[Event]) -> list[str]:
    """The sequence number of the first record that failed, if one did: the rest is not begun, for it comes again."""
    for record in records:
        kinesis = record.get("kinesis")
        kinesis = kinesis if isinstance(kinesis, dict) else {}
        name = kinesis.get("sequenceNumber")
        if not isinstance(name, str):
            processor.defer("kinesis", "", "a record of the batch has no sequenceNumber")
            return [_WHOLE_BATCH]
        try:
            item = BatchItem("kinesis", name, body=b64decode(kinesis["data"], validate=True))
        except (KeyError, TypeError, ValueError) as error:
            item = BatchItem("kinesis", name, problem=f"the record's data must be base64 ({error})")
        if processor.run(item):
            return [name]
    return []


def _attribute(message: Event, name: str) -> str | None:
    attributes = message.get("attributes")
    value = attributes.get(name) if isinstance(attributes, dict) else None
    return value if isinstance(value, str) else None


def _items(message: Event) -> list[BatchItem]:
    """A message is a request, {"uri": "s3://bucket/key"}, or a notification of S3 or EventBridge."""
    name, body = message["messageId"], message.get("body")
    xray = _attribute(message, "AWSTraceHeader")
    if not isinstance(body, str):
        return [
            BatchItem(
                "sqs", name, problem=f"the message's body must be a string; {type(body).__name__} came", xray=xray
            )
        ]
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        if document.get("Event") == "s3:TestEvent":  # S3 sends it when its notifications are set up
            return []
        if "Records" in document or document.get("source") == "aws.s3":
            try:
                return _created(document)
            except RecordsError as error:
                return [BatchItem("sqs", name, problem=str(error))]
        if isinstance(document.get("uri"), str):
            return [BatchItem("sqs", name, uri=document["uri"], xray=xray)]
    return [BatchItem("sqs", name, body=body.encode("utf-8", "surrogatepass"), xray=xray)]


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a name must be a string, not {type(value).__name__}")
    return value


def _created(event: Event) -> list[BatchItem]:
    """The objects that a notification of S3 or EventBridge says were created; RecordsError for any other event."""
    try:
        if event.get("source") == "aws.s3":  # EventBridge; it leaves the key as it is
            created = event["detail-type"] == "Object Created"
            found = [(event["detail"]["bucket"]["name"], event["detail"]["object"]["key"])] if created else []
        else:
            found = []
            for record in event["Records"]:
                if _name(record["eventSource"]) != "aws:s3":
                    served = "those of S3 and SQS are, and of Kinesis with FEATURES_FROM_RECORDS=1"
                    raise RecordsError(f"records of {record['eventSource']} are not served; {served}")
                if record["eventName"].startswith("ObjectCreated:"):
                    found.append((record["s3"]["bucket"]["name"], unquote_plus(record["s3"]["object"]["key"])))
        return [
            BatchItem("s3", uri, uri=uri) for uri in [f"s3://{_name(bucket)}/{_name(key)}" for bucket, key in found]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise RecordsError(f"the notification is not one of S3: {error!r}") from error
