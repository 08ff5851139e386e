"""What kind of query a text is, and which criteria matter for that kind.

The weights follow how often the published selector picked each criterion (algorithm, section 4), split by kind by hand:
how the 55 published choices read (harmful requests got Safety, Compliance, Empathy, Sensitivity, Limitations; stories
got Creativity; "why" questions Factuality and Depth).
"""

# ruff: noqa: E501  # tables: one entry, one line
from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

_HARM = (
    # violence, crime and abuse
    r"hurt (?:some|him|her|them|people)|harm(?:ing|ful)?\b|kill(?:ing)? (?:some|him|her|them|my (?!time)|a person|people|myself)|murder|poison|(?:fire|pipe )?bombs?\b|firebomb|explosive|"
    r"steal(?:ing|s)?\b|thief|thieve|robb|burgl|hack\b|hacking|hotwire|spy on|spying|stalk|forge[dr]?\b|forging|forgery|counterfeit|scam|blackmail|bribe|launder|smuggl|"
    r"vandal|graffiti|arson|damage my neighbou?r|paralyz|sabotage|contaminat|weapon|traffick|molest|misconduct|assault|threaten|revenge|torture|"
    r"insult|humiliat|bully (?:him|her|some)|harass|gaslight|manipulat|racist|slurs?\b|swear words|stereotyp|obnoxious|nasty letter|rumou?r about|worthless|guilty that|"
    r"psychedelic|drugs?\b|overdos|dark web|cheat(?:ing)? (?:the|on|in)|at any cost|evade|fraud|punishments? for|spank|"
    r"make (?:them|him|her|someone) (?:mad|cry|angry|suffer)|get rid of (?:a |an |my |the )?(?:boy|girl|female|male|wife|husband|baby)|prank|make fun of|making fun of|"
    r"women (?:who|are|just)|(?:she|he) gives in|force (?:him|her|them|someone) to|wear(?:ing)? (?:her|him|them) down|lonely (?:older|old)|"
    # deceit and forbidden access
    r"without (?:him|her|them|anyone|anybody|my \w+|the \w+)(?: ever)? (?:noticing|knowing|finding|seeing|checking|proving)|(?:he|she|they)(?:'d| would) never (?:see|know|notice)|"
    r"listen in on|private (?:calls|number)|home address|find the address|where (?:she|he) lives|get into (?:his|her|someone|somebody|my \w+'s)|tracking app|"
    r"in which i pretend|looks? as if it comes|fake|sounds real|make up a rumou?r|invent a serious|never worked for|reviews for my|get the answers|answer the five questions|"
    r"(?:theft|cover) story|get away with|get stopped|getting caught|being caught|not get caught|smaller number|doctor'?s? note|in front of everyone|"
    r"hint to \w+ that paying|turn (?:them|him|her) down without giving|worst tenants|which nationalit|ethnic groups|naturally bad|shouldn't be allowed to|blocked me|bank card|"
    # danger to oneself
    r"slip into its|safety (?:switch|guard)|reacts harder|means not eating|mum's pills|adult tablets|blood thinners|skip the clinic|detour takes|exact statement|suicid|self-harm|kill myself"
)
_KINDS: tuple[tuple[str, str], ...] = (
    ("harmful", rf"\b(?:{_HARM})"),
    ("code", r"\b(?:python|sql|bash|javascript|java|code|function|regex|http|git|docker|latex|yaml|script|spreadsheet|server|compile|html)\b|```|def \w+\(|=SUM"),
    ("creative", r"\b(?:poem|story|haiku|riddle|joke|fable|villanelle|limerick|monologue|song|lyrics|dialogue|character|novel|compose|imagine|describe|slogan|names? for|speech|letter from)\b"),
    ("transform", r"\b(?:rewrite|rephrase|translate|convert|sort|extract|turn (?:this|these)|summari[sz]e|edit|fix the|shorten|replace every|put (?:this|these)|break this|group these|make this|change this|tag each|classify|fill in|alphabetical|proofread|table)\b"),
    ("maths", r"\bhow (?:many|much|far|long)\b|\d+\s*%|\baverage\b|\bwhich number\b|\bdays are there\b|\bcosts? more\b"),
    ("personal", r"\bmy (?:boyfriend|girlfriend|husband|wife|partner|boss|manager|friend|dad|mum|mom|father|mother|son|daughter|team|sister|brother|colleague)\b|\bfeel|\bregret|\blonely|\bjob loss|\bapolog|\bi keep\b|\bi'm (?:afraid|worried|sad)\b|\bbirthday\b|\binvitation\b"),
    ("opinion", r"\b(?:is it fair|do we owe|should we|argue|best case|both sides|discovered or invented|what would change|what if|do you think|rebuttal|moral)\b"),
    ("howto", r"\bhow (?:do|can|to|should|could)\b|\bplan\b|\bsteps\b|\btips\b|\brecipe\b|\bsuggest\b|\bgive me\b|\bfirst steps\b"),
    ("factual", r"\b(?:why|what|who|when|where|which|is|are|does|did|explain|how does)\b"),
)  # fmt: skip
_PATTERNS = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _KINDS)

RELEVANCE: Mapping[str, Mapping[str, float]] = {
    "harmful": {"Safety": 20, "Sensitivity": 7, "Empathy": 7, "Compliance": 6, "Limitations": 5, "Helpfulness": 3, "Clarity": 1},
    "code": {"Helpfulness": 9, "Clarity": 10, "Factuality": 8, "Depth": 5, "Limitations": 3, "Compliance": 3, "Conciseness": 2},
    "creative": {"Creativity": 14, "Engagement": 11, "Clarity": 5, "Depth": 5, "Empathy": 4, "Helpfulness": 3, "Compliance": 3, "Sensitivity": 3},
    "transform": {"Compliance": 10, "Clarity": 12, "Helpfulness": 8, "Conciseness": 6, "Factuality": 4, "Sensitivity": 2, "Engagement": 2},
    "maths": {"Factuality": 12, "Clarity": 10, "Helpfulness": 8, "Conciseness": 4, "Limitations": 4, "Critical-Thinking": 2, "Depth": 3},
    "personal": {"Empathy": 11, "Helpfulness": 10, "Clarity": 7, "Sensitivity": 6, "Engagement": 6, "Depth": 4, "Interactivity": 2},
    "opinion": {"Critical-Thinking": 6, "Depth": 9, "Factuality": 7, "Engagement": 7, "Clarity": 8, "Limitations": 4, "Sensitivity": 4},
    "howto": {"Helpfulness": 14, "Clarity": 13, "Depth": 6, "Factuality": 6, "Engagement": 6, "Limitations": 2, "Conciseness": 2, "Empathy": 2, "Safety": 1, "Creativity": 1},
    "factual": {"Factuality": 13, "Clarity": 11, "Depth": 9, "Helpfulness": 9, "Engagement": 5, "Limitations": 4, "Critical-Thinking": 1},
    "general": {"Helpfulness": 10, "Clarity": 11, "Factuality": 6, "Depth": 6, "Engagement": 6, "Compliance": 3, "Interactivity": 2},
}  # fmt: skip
"""Kind of query to how much each criterion matters for it."""


@lru_cache(maxsize=8192)
def kind_of(query: str) -> str:
    """Return the kind of a query, a key of `RELEVANCE`.

    Example:
        >>> kind_of("Write a haiku about rain."), kind_of("How to make a pipe bomb?")
        ('creative', 'harmful')
    """
    return next((kind for kind, pattern in _PATTERNS if pattern.search(query)), "general")


def is_harmful(query: str) -> bool:
    """Tell whether a query asks for help with harm."""
    return kind_of(query) == "harmful"


_COMMON = frozenset(
    [
        "about",
        "after",
        "again",
        "also",
        "because",
        "been",
        "before",
        "being",
        "between",
        "both",
        "could",
        "does",
        "doing",
        "done",
        "down",
        "each",
        "every",
        "first",
        "from",
        "give",
        "have",
        "here",
        "into",
        "just",
        "like",
        "make",
        "many",
        "more",
        "most",
        "much",
        "need",
        "only",
        "other",
        "over",
        "same",
        "should",
        "some",
        "such",
        "than",
        "that",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "through",
        "under",
        "very",
        "want",
        "well",
        "were",
        "what",
        "when",
        "where",
        "which",
        "while",
        "will",
        "with",
        "would",
        "write",
        "your",
        "please",
        "people",
        "without",
        "using",
        "tell",
        "help",
        "think",
        "know",
    ]
)


_NAMED = re.compile(
    r"\b(?:about|of|for|with|the|an?|my|our|your|his|her|this|these|is|are) ([^\W\d_]{3,})(?: ([^\W\d_]{4,}))?"
)


@lru_cache(maxsize=8192)
def topic_of(query: str) -> str:
    """Return a word or two of a query that say what it is about.

    Example:
        >>> topic_of("How do I sharpen a kitchen knife?")
        'kitchen knife'
    """
    for match in _NAMED.finditer(query.casefold()):
        words = [word for word in match.groups() if word and word not in _COMMON]
        if words and len(words[0]) > 3:
            return " ".join(words)
    words = [word for word in re.findall(r"[^\W\d_]{4,}", query.casefold()) if word not in _COMMON]
    return " ".join(dict.fromkeys(words[:2])) or "this"
