"""What one provider's answers of a run came to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """Answers, grades and costs of one provider.

    Args:
        place: of the provider among the others.
        answers: their number.
        cost: of them all, USD.
        grades: their number; an answer may wait for its own.
        total: of the grades.
        squares: total of the squared grades.

    >>> tally = Tally(place=0)
    >>> for quality in (0.5, 0.7, None):
    ...     tally.add(quality, cost=0.001)
    >>> tally.told()
    ['3', '0.600 ± 0.100', '1.00']
    """

    place: int
    answers: int = 0
    cost: float = 0.0
    grades: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, quality: float | None, cost: float) -> None:
        """Count one answer, its quality in [0, 1] or None, its cost in USD."""
        self.answers += 1
        self.cost += cost
        if quality is not None:
            self.grades += 1
            self.total += quality
            self.squares += quality * quality

    def merge(self, other: Tally) -> None:
        """Count all answers of another provider, too."""
        self.answers += other.answers
        self.cost += other.cost
        self.grades += other.grades
        self.total += other.total
        self.squares += other.squares

    def quality(self) -> str:
        """Mean grade and its standard error, where there are two grades."""
        if not self.grades:
            return ""
        mean = self.total / self.grades
        if self.grades == 1:
            return f"{mean:.3f}"
        variance = max(0.0, self.squares - self.grades * mean * mean) / (self.grades - 1)
        return f"{mean:.3f} ± {(variance / self.grades) ** 0.5:.3f}"

    def told(self) -> list[str]:
        """Answers, quality and USD per 1,000 as texts; empty where there is none."""
        return [f"{self.answers:,}", self.quality(), f"{1e3 * self.cost / self.answers:.2f}" if self.answers else ""]
