"""Trace context through a queue and through a thread: docs/recipes/queue-and-thread.md."""

import contextvars
import json
import queue
import threading

from opentelemetry import propagate, trace

tracer = trace.get_tracer("queue-and-thread")


def pack(order: int) -> str:
    """Injects the current context into the headers of a message."""
    headers: dict[str, str] = {}
    with tracer.start_as_current_span("send orders"):
        propagate.inject(headers)
    return json.dumps({"headers": headers, "order": order})


def process(message: str) -> None:
    """Continues the trace of the sender."""
    content = json.loads(message)
    sender = propagate.extract(content["headers"])
    with tracer.start_as_current_span("process order", context=sender):
        pass


def calculate() -> None:
    """Works on another thread."""
    with tracer.start_as_current_span("calculate"):
        pass


def main() -> None:
    """Sends a message and calculates, inside one span; then works the queue off."""
    messages: queue.SimpleQueue[str] = queue.SimpleQueue()
    with tracer.start_as_current_span("order") as span:
        messages.put(pack(1))
        # A thread begins with an empty context: it runs in a copy of this one.
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(calculate,))
        thread.start()
        thread.join()
    process(messages.get())
    print(trace.format_trace_id(span.get_span_context().trace_id))


if __name__ == "__main__":
    main()
