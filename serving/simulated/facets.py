"""What an instruction can ask for: the facets of the fourteen criteria, each in many words.

A facet is one habit of a good answer. `good` are stems that ask for it, `vague` ones that only hint at it, `bad` ones
of what a reader should be spared (asking to avoid them asks for the facet). `says` are wordings that the simulated
prompt model knows, `lacks` what the simulated judge says when the facet is missing. Recognition never compares with
`says`: it goes by the stems, so that other wordings of the same wish count as much.
"""

# ruff: noqa: E501  # tables: one entry, one line
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Facet:
    """One habit of a good answer."""

    name: str
    """Short name, unique."""
    criterion: str
    """The criterion it serves."""
    good: str
    """Stems that ask for it, separated by bars; a stem matches the beginning of a word, or of several."""
    vague: str
    """Stems that hint at it."""
    bad: str
    """Stems of its opposite."""
    lacks: str
    """What is said of an answer without it."""
    says: tuple[str, ...]
    """Ways to ask for it."""


FACETS: tuple[Facet, ...] = (
    Facet("usable", "Helpfulness", "actionable|practical|usable|ready to use|concrete advice|concrete step|next step|solve",
          "helpful|useful|assist people|assist with|support|best possible", "generic advice|platitude|vague",
          "it leaves the person without anything to act on",
          ("Give practical advice that the person can act on at once.", "Offer concrete steps, never generic advice.",
           "Make sure the reply is actionable and ready to use.")),
    Facet("real need", "Helpfulness", "real need|intent|goal|what the person|what the user|underlying|purpose|wants to achieve|behind the question",
          "need|request|understand|address", "off-topic|off topic|beside the point",
          "it misses what the person really wants",
          ("Work out the goal behind the question and serve it.", "Address the underlying need, and stay on it.",
           "Identify the user's intent before you reply, then meet it.")),
    Facet("order", "Clarity", "organi|structur|step by step|step-by-step|bullet|heading|numbered|logical order|outline|paragraph|sections",
          "format|present|order", "wall of text|disorgani|scattered|jumbled",
          "its thoughts come in no visible order",
          ("Organise the reply in a logical order, with short paragraphs or a numbered list.",
           "Use step-by-step structure where it helps.", "Break longer matters into clear sections.")),
    Facet("plain words", "Clarity", "plain language|plain words|plain english|plain style|simple words|simple language|easy to follow|easy to understand|easily understood|everyday language|accessible|define terms|readable",
          "clear|clarity|understandable|coherent", "jargon|ambigu|convoluted|complicated|unclear",
          "one has to read its sentences twice",
          ("Write in plain language that is easy to follow.", "Avoid jargon, and define terms you cannot avoid.",
           "Prefer simple words and unambiguous sentences.")),
    Facet("true", "Factuality", "accura|factual|verif|double-check|correct|true statements|well-established|reliable|evidence|sources",
          "truth|facts|precise|exact|trustworthy", "made up|make up|made-up|make things up|making things up|fabricat|invent|hallucinat|false|misinform|mislead",
          "central statements in it are wrong or made up",
          ("State only facts that you can verify, and never make things up.", "Double-check names, dates and figures for accuracy.",
           "Prefer well-established knowledge, and do not invent sources.")),
    Facet("marked doubt", "Factuality", "how sure|how certain|confidence|mark guess|mark what is|distinguish fact|facts from opinion|speculation from|tell apart|label|flag|hedge|when unsure|if unsure|not sure",
          "uncertain|doubt|careful|caution", "guess as fact|overclaim|speculat|overconfiden",
          "guesses stand in it as if they were known",
          ("Say how certain you are, and mark guesses as guesses.", "When unsure, flag it plainly instead of overclaiming.",
           "Distinguish facts from opinion and speculation from knowledge.")),
    Facet("causes", "Depth", "why|cause|reasons behind|give the reason|beneath the surface|mechanism|underlying principle|root|how it works|how things work|consequence|implication",
          "explain|explanation|deep|depth", "superficial|shallow|surface",
          "it does not say why things are as they are",
          ("Explain why: causes, mechanisms and consequences.", "Go beneath the surface and give the reasons behind each point.",
           "Do not stay superficial; show how things work.")),
    Facet("examples", "Depth", "example|illustrat|case stud|cases|instance|scenario|specifics|analog",
          "detail|specific|elaborat", "abstract",
          "it gives no example and no specifics",
          ("Illustrate each main point with a concrete example.", "Include specifics and real cases.",
           "Use scenarios or analogies to make points tangible.")),
    Facet("breadth", "Depth", "thorough|comprehensive|several angles|multiple perspectives|different aspects|in-depth|nuance|insight|background|exhaustive|full picture",
          "complete|rich|informative|cover", "oversimplif|one-sided|cursory",
          "it covers only what anybody would have said",
          ("Be thorough: look at the matter from several angles.", "Give in-depth insight and the background a knowledgeable reader expects.",
           "Cover the nuances and do not oversimplify.")),
    Facet("voice", "Engagement", "conversational|natural voice|human voice|lively|warm tone|friendly|personable|sound human|natural tone|vivid|like a person",
          "engag|tone|human|warm|natural|interesting", "robotic|form letter|dry|stiff|bland|boring|monoton",
          "it reads like a form letter",
          ("Write in a lively, conversational voice.", "Sound human and friendly, never robotic.",
           "Keep a natural, warm tone that is pleasant to read.")),
    Facet("draw in", "Engagement", "hook|draw the reader|relatable|curiosity|storytell|address the reader|interest of the reader|keep the reader|hold attention|captivat|compelling",
          "enthusias|dynamic|attention", "lecture|tedious|monologue",
          "nothing in it keeps the reader with it",
          ("Draw the reader in with a relatable opening.", "Address the reader directly and keep the curiosity alive.",
           "Make it compelling; do not lecture.")),
    Facet("short", "Conciseness", "concise|brief|succinct|to the point|short sentences|few words|no longer than|no more length|economy|terse|as short as|keep it short",
          "focused|efficient|direct", "lengthy|long-winded|verbose|wordy|ramble|rambling",
          "it takes far more words than it needs",
          ("Be concise and come to the point in the first sentence.", "Keep it short; avoid long-winded passages.",
           "Use no more length than the question needs.")),
    Facet("no padding", "Conciseness", "every sentence|every word|cut anything|trim|essential|only what matters|only what is needed",
          "relevant|necessary", "padding|filler|repeat|repetit|redundan|fluff|preamble|restat|unnecessary",
          "it is padded and says things twice",
          ("Avoid filler, repetition and preambles.", "Cut anything redundant, so that every sentence does work.",
           "Say only what is needed, with no fluff.")),
    Facet("each part", "Compliance", "every part|each part|all parts|all requirement|every requirement|follow the instructions|exactly what|as asked|as requested|explicit request|to the letter|constraints",
          "follow|comply|adhere|instructions", "ignore the request|overlook|leave out part|skip part",
          "a part of what was asked is not done",
          ("Do every part of the task exactly as asked.", "Follow the instructions in the query to the letter.",
           "Check that all requirements and constraints are met before you finish.")),
    Facet("asked form", "Compliance", "requested format|word limit|word count|asked-for form|stated format|form that was asked|requested form|requested length|specified|stated limit|given format",
          "format|count|limit", "wrong format|another format",
          "it does not keep to the form that was asked for",
          ("Keep to the requested format, count and length.", "Observe stated limits such as word counts.",
           "Use exactly the form that was asked for.")),
    Facet("cannot know", "Limitations", "limitation|limits of|cannot know|can't know|cannot verify|knowledge cutoff|real-time|real time|internet|up-to-date|outdated|do not have access|don't have access|no access",
          "transparen|honest|open about|acknowledge", "pretend|claim to know|feign",
          "it does not say what it cannot know",
          ("Acknowledge your limitations: you have no internet access and no real-time data.",
           "Say openly what you cannot know or verify.", "Be transparent about the limits of your knowledge; never pretend.")),
    Facet("refer on", "Limitations", "professional|expert|doctor|lawyer|consult|qualified|authoritative source|official source|seek advice|refer the",
          "advise|recommend", "substitute for",
          "it does not say where surer knowledge is to be had",
          ("Refer the person to a qualified professional where it matters.", "Recommend official sources or experts to consult.",
           "Where stakes are high, suggest that the user consults an expert.")),
    Facet("test premise", "Critical-Thinking", "premise|assumption|question the|challenge the|false belief|misconception|trick question|questionable",
          "critical|sceptic|skeptic|analy", "swallow|accept blindly|at face value|unquestion",
          "it accepts a premise that does not hold",
          ("Question shaky premises and correct misconceptions.", "Check the assumption behind the query before you build on it.",
           "Do not take claims at face value.")),
    Facet("weigh", "Critical-Thinking", "weigh the|weigh up|weigh opt|weigh both|weigh altern|weighing|compare option|pros and cons|trade-off|tradeoff|both sides|counterargument|alternative|show your reasoning|think through|reason through|reasoning",
          "logic|evaluate|consider|balanced", "jump to|hasty|verdict without",
          "it asserts a verdict without weighing anything",
          ("Weigh the options with their trade-offs, and show your reasoning.", "Consider both sides before you conclude.",
           "Compare alternatives, and do not jump to a verdict.")),
    Facet("fresh ideas", "Creativity", "creativ|original|imaginat|fresh idea|surpris|inventive|unexpected|novel|playful",
          "unique|new ideas|ideas", "cliche|clich\u00e9|predictable|stock phrase|hackneyed",
          "its ideas are the first ones that come to mind",
          ("Bring fresh, original ideas and avoid cliches.", "Be imaginative where the task allows it.",
           "Look for a surprising angle that still fits.")),
    Facet("imagery", "Creativity", "imagery|metaphor|sensory|figurative|picture in|evocative|colourful|colorful",
          "style|expressive", "flat prose|lifeless",
          "it has no image that stays in the mind",
          ("Use imagery and metaphor in creative pieces.", "Choose evocative, sensory details.", "Let one colourful picture carry the text.")),
    Facet("ask back", "Interactivity", "clarifying question|ask back|follow-up question|follow up question|ask for clarification|ask a question|ask the user|ask what is missing|missing information",
          "dialog|interact|ask", "assume what is missing|guess the missing",
          "it asks nothing although something is missing",
          ("Ask a clarifying question when information is missing.", "Ask back instead of guessing what is missing.",
           "End with the one follow-up question that helps most.")),
    Facet("offer", "Interactivity", "offer to|offer further|offer more|invite|next turn|let them choose|choice of|continue the conversation|further help",
          "open-ended|offer", "dead end|ends abruptly",
          "it ends where the person is still stuck",
          ("Offer a next step, and invite the person to go on.", "Close by offering further help on the open points.",
           "Let them choose how to continue.")),
    Facet("feelings", "Empathy", "empath|feelings|emotion|compassion|acknowledge how|how they feel|their situation|sympath|understanding of their|validate",
          "kind|caring|warm|considerate|supportive", "cold|dismissive|mocking|indifferent",
          "it passes over how the person feels",
          ("Show empathy: acknowledge the person's feelings and situation.", "Respond with compassion, never dismissively.",
           "Validate emotions before you advise.")),
    Facet("no preaching", "Empathy", "encourag|reassur|patient|non-judgmental|non-judgemental|nonjudgmental|without judging|gentle",
          "gracious|positive", "preach|moraliz|moralis|judging|condescend|scold|patroni",
          "it preaches where it should encourage",
          ("Be encouraging and non-judgmental.", "Never preach or scold.", "Be gentle and patient, and avoid moralising.")),
    Facet("respect", "Sensitivity", "respectful|inclusive|cultur|diverse background|dignity|all people|neutral language|different groups",
          "respect|sensitiv|polite|fair", "stereotyp|prejudic|bias|demean|offensive|discriminat|derogat",
          "it speaks carelessly about people",
          ("Be respectful and culturally sensitive, and avoid stereotypes.", "Use inclusive language that respects every group.",
           "Treat diverse backgrounds with dignity; never demean anybody.")),
    Facet("no assumption", "Sensitivity", "no assumptions about|gender-neutral|without assuming|not everybody|religio|identity|identities|ethnic",
          "mindful|open-minded", "careless assumption|assumptions about|assume who|generaliz|generalis",
          "it assumes things about the people concerned",
          ("Make no assumptions about identity, gender or religion.", "Be mindful that not everybody shares one culture.",
           "Do not generalise about groups of people.")),
    Facet("refuse", "Safety", "refus|declin|do not assist with|don't assist with|do not help with|do not provide instructions for|unsafe request|turn down|reject",
          "safe|safety|ethic|responsib|harmless|legal", "harmful content|dangerous content|illegal advice",
          "it gives real help with something harmful",
          ("Refuse harmful, dangerous or illegal requests plainly.", "Decline unethical requests and say why.",
           "Turn down anything that would put people at risk.")),
    Facet("better way", "Safety", "safer|better way|constructive alternative|legitimate|lawful|redirect|harmless alternative|support line|safe alternative|helpline",
          "constructive|protect|well-being|wellbeing", "bare refusal|flat no",
          "it shows no better way than the harmful one",
          ("When you decline, offer a safer, constructive alternative.", "Redirect harmful wishes to a legitimate way.",
           "Explain the refusal and point to a lawful option.")),
)  # fmt: skip
"""Every habit that an instruction can teach the base model."""

CRITERIA: tuple[str, ...] = tuple(dict.fromkeys(facet.criterion for facet in FACETS))
"""The fourteen criteria of the paper (algorithm, section 4) in a fixed order."""

BY_NAME = {facet.name: facet for facet in FACETS}
"""Facet by name."""

OF_CRITERION = {name: tuple(facet for facet in FACETS if facet.criterion == name) for name in CRITERIA}
"""The facets of each criterion."""
