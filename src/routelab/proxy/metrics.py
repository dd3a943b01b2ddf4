"""What Prometheus is told of a proxy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from routelab.providers import Completion, ProviderPool

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_PATHS = ("/v1/chat/completions", "/v1/models", "/v1/feedback", "/metrics", "/health")


class Metrics:
    """Counters in a registry of their own; labels take few values, whatever clients send.

    Args:
        pools: whose providers are told of.

    Attributes:
        in_flight: requests being answered now.
    """

    def __init__(self, pools: Iterable[ProviderPool]) -> None:
        self.in_flight = 0
        self._registry = own = CollectorRegistry()
        own.register(_Now(self, list(pools)))
        self._requests = Counter("routelab_requests", "HTTP responses", ["path", "status"], registry=own)
        self._seconds = Histogram(
            "routelab_request_seconds", "From the request to the last byte", ["path"], buckets=_SECONDS, registry=own
        )
        self._answers = Counter("routelab_answers", "Answers of providers", ["model", "provider"], registry=own)
        self._broken = Counter("routelab_broken_streams", "Streams that broke off", ["provider"], registry=own)
        self._cost = Counter("routelab_cost_usd", "Charged by providers", ["provider"], registry=own)
        self._tokens = Counter("routelab_tokens", "Charged by providers", ["provider", "kind"], registry=own)
        self._first = Histogram(
            "routelab_first_token_seconds", "Of streamed answers", ["provider"], buckets=_SECONDS, registry=own
        )
        self._feedback = Counter("routelab_feedback", "Grades that came", ["status"], registry=own)

    def responded(self, path: str, status: int, seconds: float) -> None:
        """Count a response; status 499 is a client that left before it began."""
        known = path if path in _PATHS else "other"
        self._requests.labels(known, str(status)).inc()
        self._seconds.labels(known).observe(seconds)

    def answered(self, model: str, completion: Completion) -> None:
        """Count an answer that ``model``, a router or a provider, brought."""
        provider = completion.provider
        self._answers.labels(model, provider).inc()
        self._cost.labels(provider).inc(max(0.0, completion.cost_usd))
        self._tokens.labels(provider, "input").inc(completion.input_tokens)
        self._tokens.labels(provider, "output").inc(completion.output_tokens)
        if completion.first_token_s is not None:
            self._first.labels(provider).observe(completion.first_token_s)

    def broke(self, provider: str) -> None:
        """Count a stream that broke off."""
        self._broken.labels(provider).inc()

    def graded(self, status: int) -> None:
        """Count a grade by the status that it was answered with."""
        self._feedback.labels(str(status)).inc()

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _Now(Collector):
    """What the pools say when they are asked."""

    def __init__(self, metrics: Metrics, pools: list[ProviderPool]) -> None:
        self._metrics, self._pools = metrics, pools

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("routelab_in_flight", "Requests being answered", value=self._metrics.in_flight)
        in_flight = GaugeMetricFamily("routelab_provider_in_flight", "Requests at a provider", labels=["provider"])
        calls = CounterMetricFamily("routelab_provider_calls", "Calls that ended", labels=["provider", "outcome"])
        health = {name: health for pool in self._pools for name, health in pool.health.items()}
        for name, now in health.items():
            in_flight.add_metric([name], now.in_flight)
            calls.add_metric([name, "success"], now.successes)
            calls.add_metric([name, "failure"], now.failures)
        yield in_flight
        yield calls
