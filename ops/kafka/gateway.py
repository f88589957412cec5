#!/usr/bin/env python3
"""A gateway, whole but for the delivering: it takes commands from cpm.deliveries and answers on cpm.outcomes.

    pip install confluent-kafka
    ops/kafka/gateway.py --brokers 127.0.0.1:9092 --access cpm

Replace `deliver` by what reaches your phones; the rest is what every gateway owes deferd, and why stands in
README.md beside it. It works off one command after the other, which is easy to follow; a busy gateway has
several under way, in order for each user, and commits an offset when all before it are answered.
"""

import argparse
import json
import signal
import sqlite3
import sys
import time
from datetime import datetime, timezone

from confluent_kafka import Consumer, KafkaException, Producer

COMMAND = "cpm.delivery.requested.v1"


def deliver(command, args):
    """Delivers, and returns the fields of the outcome; schemas/cpm.delivery.outcome.v1.json has them all.

    Say `failed` only when nothing can have arrived, with a `cause`; more work than you can take is
    {"outcome": "failed", "cause": "congestion", "retry_after_seconds": 10}. Not sure is `unknown`.
    """
    say(f"delivers {command['message_id']} to {command['user']} by {command['access']}")
    time.sleep(args.takes)
    return json.loads(args.answer)


class Memory:
    """What became of each attempt, on disk, so that a gateway that starts again still knows it."""

    def __init__(self, path, keep_days):
        # Each statement is a transaction of its own, and on the disk when it returns.
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("PRAGMA synchronous = FULL")
        self.database.execute(
            "CREATE TABLE IF NOT EXISTS attempts"
            " (attempt_id TEXT PRIMARY KEY, at REAL NOT NULL, outcome TEXT)"
        )
        # What the topic keeps no longer cannot come again.
        oldest = time.time() - keep_days * 86_400
        self.database.execute("DELETE FROM attempts WHERE at < ?", (oldest,))

    def recall(self, attempt_id):
        """Whether the attempt was begun, and the outcome if it has one."""
        row = self.database.execute(
            "SELECT outcome FROM attempts WHERE attempt_id = ?", (attempt_id,)
        ).fetchone()
        return row is not None, row and row[0]

    def begin(self, attempt_id):
        self.database.execute("INSERT INTO attempts VALUES (?, ?, NULL)", (attempt_id, time.time()))

    def end(self, attempt_id, outcome):
        self.database.execute(
            "INSERT INTO attempts VALUES (?, ?, ?)"
            " ON CONFLICT (attempt_id) DO UPDATE SET outcome = excluded.outcome",
            (attempt_id, time.time(), outcome),
        )


class Outcomes:
    """Answers, each acknowledged by Kafka before the next thing happens."""

    def __init__(self, args, settings):
        self.topic = args.prefix + "cpm.outcomes"
        self.source = args.source
        self.producer = Producer(
            settings
            | {
                "acks": "all",
                "enable.idempotence": True,
                # Java's way to choose a partition. librdkafka's own way puts most users into another
                # one than deferd's, and such an outcome becomes a dead letter.
                "partitioner": "murmur2_random",
                "linger.ms": 0,
            }
        )

    def event(self, command, user, outcome):
        """The same outcome of the same attempt has the same id, so that a repeated one is known."""
        event = {
            "specversion": "1.0",
            "id": f"{command['attempt_id']}-{outcome['outcome']}",
            "source": self.source,
            "type": "cpm.delivery.outcome.v1",
            "subject": user,
            "time": now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "data": {"attempt_id": command["attempt_id"], **outcome},
        }
        return json.dumps(event, ensure_ascii=False)

    def send(self, user, event):
        failures = []
        self.producer.produce(
            self.topic,
            key=user,
            value=event,
            headers={"content-type": "application/cloudevents+json"},
            on_delivery=lambda error, _: error and failures.append(error),
        )
        # Returns when it is acknowledged, or given up after message.timeout.ms.
        self.producer.flush()
        if failures:
            # Nothing was committed: the next run finds the command again, and its outcome in memory.
            raise SystemExit(f"gateway: an outcome was not taken: {failures[0].str()}")
        data = json.loads(event)["data"]
        say(f"reports {data['attempt_id']} {data['outcome']} {data.get('cause', '')}".rstrip())


def handle(command, user, args, memory, outcomes):
    """One command, from its deadline to its outcome."""
    attempt_id = command["attempt_id"]
    begun, event = memory.recall(attempt_id)
    if begun:
        # A command that came again: say again what became of it, and send nothing. One that was begun
        # and never ended fell into a crash: nobody can tell whether it went out.
        event = event or outcomes.event(command, user, {"outcome": "unknown"})
    elif is_late(command):
        event = outcomes.event(command, user, {"outcome": "failed", "cause": "late"})
    else:
        # First on our disk, then in Kafka, then the first byte to the phone.
        memory.begin(attempt_id)
        outcomes.send(user, outcomes.event(command, user, {"outcome": "started"}))
        # Kafka may have kept us waiting for the acknowledgement.
        late = {"outcome": "failed", "cause": "late"}
        event = outcomes.event(command, user, late if is_late(command) else deliver(command, args))
    memory.end(attempt_id, event)
    outcomes.send(user, event)


def is_late(command):
    """Nothing is started after the deadline: deferd has gone on by then."""
    return now() >= datetime.fromisoformat(command["deadline"].replace("Z", "+00:00"))


def read(record):
    """The command and its user, or nothing where the record is none for us."""
    try:
        event = json.loads(record.value())
        if event["type"] != COMMAND:
            return None
        command = event["data"]
        is_late(command), command["attempt_id"], command["access"]
        return command, event["subject"]
    except (ValueError, KeyError, TypeError) as error:
        say(f"cannot read {record.topic()} {record.partition()}:{record.offset()}: {error!r}")
        return None


def now():
    return datetime.now(timezone.utc)


def say(what):
    print(f"gateway: {what}", file=sys.stderr, flush=True)


def run(args):
    settings = {"bootstrap.servers": args.brokers} | dict(one.split("=", 1) for one in args.set)
    memory = Memory(args.memory, args.keep_days)
    outcomes = Outcomes(args, settings)
    consumer = Consumer(
        settings
        | {
            "group.id": args.group,
            # A command of a transaction that was aborted was never given.
            "isolation.level": "read_committed",
            # A new group begins with what is there: what is late is reported late, not passed over.
            "auto.offset.reset": "earliest",
            # An offset is committed when the outcome is in Kafka, not when the command is read.
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([args.prefix + "cpm.deliveries"])
    going = True

    def stop(*_):
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        while going:
            record = consumer.poll(0.5)
            if record is None:
                continue
            if record.error():
                if record.error().fatal():
                    raise KafkaException(record.error())
                say(record.error().str())
                continue
            found = read(record)
            if found and args.access in ("any", found[0]["access"]):
                handle(*found, args, memory, outcomes)
            try:
                consumer.commit(record, asynchronous=False)
            except KafkaException as error:
                # Another of our group has the partition now: it is given the command again.
                say(f"offset not committed: {error.args[0].str()}")
    finally:
        consumer.close()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--brokers", default="127.0.0.1:9092")
    parser.add_argument("--prefix", default="", help="of the topics' names")
    parser.add_argument("--access", choices=["cpm", "sms", "any"], default="any", help="which commands are ours")
    parser.add_argument("--group", default="gateway")
    parser.add_argument("--source", default="/gateway/example", help="who we are in our outcomes")
    parser.add_argument("--memory", default="gateway.sqlite", help="where attempts are remembered")
    parser.add_argument("--keep-days", type=float, default=8, help="longer than cpm.deliveries keeps a command")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of librdkafka: TLS, SASL, …")
    parser.add_argument("--answer", default='{"outcome": "delivered"}', help="what the example makes of a delivery")
    parser.add_argument("--takes", type=float, default=0, help="and how many seconds it takes")
    return parser.parse_args()


if __name__ == "__main__":
    run(arguments())
