"""The phrases from which the prompts of the synthetic world are made: six task families."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Family:
    """Phrases of one task.

    Args:
        asks: questions, with ``{}`` for the topic.
        topics: from easy to hard.
        requirements: each makes the request harder by the same amount.
        cues: regular expression by which a prompt of somebody else's is taken for this task.
    """

    asks: tuple[str, ...]
    topics: tuple[str, ...]
    requirements: tuple[str, ...]
    cues: str


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(" ".join(phrase.split()) for phrase in text.split(";"))


FAMILIES: dict[str, Family] = {
    "chat": Family(
        asks=_phrases(
            """What should I know about {}?; Tell me about {}.; Give me advice on {}.; Let's talk about {}."""
        ),
        topics=_phrases(
            """naming a new puppy; a birthday greeting; weekend plans in Lisbon; easy pasta dinners; packing
            for a beach trip; house plants for dark rooms; getting back into running; a polite resignation
            letter; learning the guitar at forty; moving to a new city; asking for a pay rise; choosing a
            health insurance; settling a quarrel with a neighbour; investing a first salary; caring for an
            ageing parent; planning a career change into law; mediating between two founders; the ethics
            of gene editing; central bank policy and inflation; the philosophy of personal identity"""
        ),
        requirements=_phrases(
            """Keep a warm tone.; Assume I am a beginner.; Name three options.; Mention one common mistake.;
            Stay under 120 words.; Give a concrete example.; Consider a small budget.; End with a
            question."""
        ),
        cues=r"\b(advice|recommend|tell me|talk|suggest)\b",
    ),
    "summarise": Family(
        asks=_phrases("""Summarise {}.; Give me the key points of {}.; Write an abstract of {}.; Condense {}."""),
        topics=_phrases(
            """a school newsletter; a restaurant review; a travel blog entry; the minutes of a club meeting;
            a product announcement; a local news article; a podcast transcript; a customer complaint
            thread; a museum brochure; a company's quarterly report; a town hall debate; a usability
            study; an incident report of an outage; a chapter on the Hanseatic League; a commercial lease;
            a clinical trial protocol; a patent on battery chemistry; a supreme court judgment; a paper on
            protein folding; a treaty on maritime borders"""
        ),
        requirements=_phrases(
            """Use at most five bullets.; Keep every figure.; Name who decided what.; Leave out opinions.;
            Start with the conclusion.; Write for an executive.; Flag open questions.; Quote one sentence."""
        ),
        cues=r"\b(summari[sz]e|summary|abstract|condense|key points|tl;?dr)\b",
    ),
    "code": Family(
        asks=_phrases(
            """Write a Python function for {}.; Fix the bug in {}.; Refactor {}.; Write unit tests for {}."""
        ),
        topics=_phrases(
            """reversing a string; counting vowels; summing a column of a CSV file; a temperature converter;
            parsing a date; a to-do list API; removing duplicate rows; a retry decorator; a binary search;
            paging through a REST endpoint; a rate limiter; merging overlapping intervals; an LRU cache; a
            thread-safe job queue; topological sorting of tasks; a recursive descent parser; an
            asynchronous connection pool; incremental view maintenance; a lock-free ring buffer; a Raft
            leader election"""
        ),
        requirements=_phrases(
            """Add type hints.; Handle empty input.; Run in linear time.; Use the standard library only.;
            Raise clear errors.; Support streaming.; Keep it backward compatible.; Document the public
            API."""
        ),
        cues=r"(```|\b(python|java|javascript|code|function|bug|refactor|unit tests?|sql|compile|regex)\b)",
    ),
    "maths": Family(
        asks=_phrases(
            """Solve this problem on {}.; Calculate the answer: {}.; Check my solution on {}.; Work out {}."""
        ),
        topics=_phrases(
            """adding two prices; a discount of twenty percent; the area of a rectangle; average speed on a
            trip; compound interest; a system of two linear equations; drawing coloured balls from an urn;
            the roots of a quadratic; an arithmetic series; a trigonometric identity; the derivative of a
            product; integration by parts; conditional probability with two tests; eigenvalues of a 3 by 3
            matrix; a second-order differential equation; modular inverses; convergence of an alternating
            series; a contour integral; the spectral theorem; Galois groups of quintics"""
        ),
        requirements=_phrases(
            """State the units.; Give an exact fraction.; Round to four decimals.; Verify by substitution.;
            List all cases.; Bound the error.; Treat the degenerate case too.; Give a closed form."""
        ),
        cues=r"(\d\s*[-+*/^=]\s*\d|\b(solve|calculate|equation|integral|probability|prove|theorem|sum of)\b)",
    ),
    "extraction": Family(
        asks=_phrases("""Extract the fields from {}.; Return JSON for {}.; List all entities in {}.; Tabulate {}."""),
        topics=_phrases(
            """a business card; a cinema ticket; an email signature; a shopping receipt; a weather bulletin;
            a job advert; a delivery note; a hotel booking; a résumé; an invoice with two tax rates; a
            bank statement; a nutrition label; a shipping manifest; a lab report; an insurance claim; a
            bill of materials; a set of board minutes; a securities prospectus; a handwritten chart
            record; a chain of amended contracts"""
        ),
        requirements=_phrases(
            """Use ISO dates.; Put null where absent.; Keep the original spelling.; Add a confidence.;
            Normalise currencies.; Sort by amount.; Merge repeated entries.; Give character offsets."""
        ),
        cues=r"\b(extract|json|entities|tabulate|fields)\b",
    ),
    "translation": Family(
        asks=_phrases(
            """Translate {} into French.; Translate {} into Japanese.; Put {} into Polish.; Render {} in
            Swahili."""
        ),
        topics=_phrases(
            """a good morning wish; a road sign; a shopping list; a train announcement; a dinner menu; a
            hotel reply; a product manual; a children's rhyme; a football commentary; a press release; a
            love letter; an opera synopsis; a software licence; a medical leaflet; a wine critique; a
            courtroom testimony; a dialect joke; a sonnet; a page full of puns; a medieval charter"""
        ),
        requirements=_phrases(
            """Keep the register formal.; Leave names as they are.; Preserve the line breaks.; Mark idioms.;
            Keep it singable.; Match the length.; Add a back-translation.; Use regional spelling."""
        ),
        cues=r"\b(translat\w*|into (french|japanese|polish|german|spanish|english|chinese|swahili))\b",
    ),
}
"""Task name → its phrases."""
