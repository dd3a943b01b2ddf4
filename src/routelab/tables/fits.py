"""Arrivals, token counts and latency of the synthetic world: constants fitted to public traces, and the fits.

The constants are written down so that nothing is downloaded at run time; the ``fit_…`` functions are how they
were made, and a test refits them from the mirror. Sources:

- ``azure_trace``: Azure/AzurePublicDataset @ b469a11, ``data/AzureLLMInferenceTrace_{conv,code}.csv``
  (CC-BY-4.0), one hour of arrivals, 2023-11-16 18:16–19:14 UTC: 19,366 conversation and 8,819 code requests.
- ``llmperf``: ray-project/llmperf-leaderboard @ 27aa9b6, ``raw_data/individual/*.json`` (Apache-2.0), 150
  requests for each provider–model pair, five at a time, 550 tokens in and about 150 out.

One hour of trace holds no daily rhythm: how arrivals swing over the day is an assumption of ``synthetic``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TRACE_HOUR = 18.75
"""Hour of day (UTC) of the middle of the Azure trace."""

LEVELS = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)
"""Probabilities at which token counts are pinned."""


@dataclass(frozen=True, slots=True)
class TrafficFit:
    """Arrivals and token counts of one workload.

    Args:
        rate: arrivals per second, averaged over the trace.
        burst: squared coefficient of variation of the rate from minute to minute, Poisson noise taken out.
        context: quantiles of the input tokens at ``LEVELS``.
        generated: quantiles of the output tokens at ``LEVELS``.
    """

    rate: float
    burst: float
    context: tuple[float, ...]
    generated: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LatencyFit:
    """Latency of one provider: time to first token and time per further token, both log-normal.

    Args:
        ttft_mu: mean of log(time to first token in seconds); ``ttft_sigma`` its standard deviation.
        gap_mu: mean of log(seconds per further output token); ``gap_sigma`` its standard deviation.
        failure: probability that a request fails.
    """

    ttft_mu: float
    ttft_sigma: float
    gap_mu: float
    gap_sigma: float
    failure: float

    @property
    def ttft_mean(self) -> float:
        """Expected time to first token, seconds: exp(μ + σ²/2)."""
        return float(np.exp(self.ttft_mu + self.ttft_sigma**2 / 2.0))

    @property
    def gap_mean(self) -> float:
        """Expected seconds per further token."""
        return float(np.exp(self.gap_mu + self.gap_sigma**2 / 2.0))


def fit_traffic(seconds: Floats, context: Floats, generated: Floats) -> TrafficFit:
    """Fit one workload from its arrival times (n,) in seconds and its token counts (n,).

    rate = (n − 1) / (last − first). burst = (Var m − E m) / (E m)² over the counts m of full minutes: a Poisson
    count with random rate has Var m = E m + burst·(E m)².

    >>> fit = fit_traffic(np.arange(0.0, 600.0, 0.5), np.full(1200, 8.0), np.full(1200, 2.0))
    >>> fit.rate, fit.context[7]
    (2.0, 8.0)
    """
    times = np.sort(seconds)
    span = times[-1] - times[0]
    minutes = np.bincount(((times - times[0]) // 60.0).astype(int))[: int(span // 60.0)]
    mean = minutes.mean()
    return TrafficFit(
        rate=float((len(times) - 1) / span),
        burst=float((minutes.var() - mean) / mean**2),
        context=tuple(np.quantile(context, LEVELS).tolist()),
        generated=tuple(np.quantile(generated, LEVELS).tolist()),
    )


def fit_latency(ttft: Floats, end_to_end: Floats, output_tokens: Floats, failures: int) -> LatencyFit:
    """Fit one provider from its answered requests (n,), in seconds, and its number of failed ones.

    Log-normal maximum likelihood for the time to first token and for (end_to_end − ttft) / (output_tokens
    − 1); failure is the Jeffreys posterior mean (failures + ½) / (requests + 1), never exactly 0.

    >>> fit_latency(np.array([0.5, 0.5]), np.array([1.5, 1.5]), np.array([11.0, 11.0]), 0).gap_mean
    0.1...
    """
    gap = (end_to_end - ttft) / (output_tokens - 1.0)
    return LatencyFit(
        ttft_mu=float(np.log(ttft).mean()),
        ttft_sigma=float(np.log(ttft).std()),
        gap_mu=float(np.log(gap).mean()),
        gap_sigma=float(np.log(gap).std()),
        failure=(failures + 0.5) / (len(ttft) + failures + 1.0),
    )


def tokens_at(probability: Floats, quantiles: tuple[float, ...]) -> Floats:
    """Token count at ``probability`` (any shape): linear in log(tokens) between the pinned quantiles.

    >>> tokens_at(np.array([0.0, 0.5, 1.0]), CONVERSATION.generated).round()
    array([   7.,  129., 1000.])
    """
    return np.exp(np.interp(probability, LEVELS, np.log(quantiles)))


CONVERSATION = TrafficFit(
    rate=5.53,
    burst=0.04539,
    context=(2, 29, 181, 207, 387, 403, 703, 1020, 1071, 1130, 1315, 2734, 4083, 4142, 6179, 14050),
    generated=(7, 16, 41, 54, 77, 91, 103, 129, 177, 384, 400, 424, 451, 601, 954, 1000),
)
"""``AzureLLMInferenceTrace_conv.csv``."""

CODE = TrafficFit(
    rate=2.566,
    burst=1.077,
    context=(3, 17, 75, 147, 386, 770, 1075, 1469, 1909, 2433, 3192, 5188, 7303, 7436, 7437, 7437),
    generated=(6, 6, 6, 7, 8, 9, 11, 13, 16, 20, 29, 55, 90, 251, 825, 1899),
)
"""``AzureLLMInferenceTrace_code.csv``."""

LATENCY = {
    "fireworks_7b": LatencyFit(-1.138, 0.2213, -4.502, 0.03005, failure=0.003311),
    "together_13b": LatencyFit(-0.5449, 0.6358, -5.034, 0.1086, failure=0.009934),
    "groq_70b": LatencyFit(-1.497, 0.1889, -5.539, 0.0782, failure=0.003311),
    "anyscale_70b": LatencyFit(-1.425, 0.2549, -4.238, 0.2178, failure=0.003311),
    "perplexity_70b": LatencyFit(-0.9006, 0.2414, -3.487, 0.09866, failure=0.01656),
}
"""By llmperf file name: provider and size of the Llama 2 chat model it served."""
