"""Finds the number that a response gives before it explains or verifies it, where no words announce the answer."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

from lilift.evaluate.answers.number_composition import Number
from lilift.evaluate.answers.responses.word_patterns import any_of

_LONGEST_OPENING = 40  # characters
_LONGEST_CLAUSE = 120
_EXPLAINS = (
    r"(?:(?:brief |short |detailed )?(?:explanation|reasoning|justification|working|workings|verification)"
    r"|(?:check|proof|solution|steps?|step-by-step|step by step|here(?:['’]s| is| are)|because|first,?)"
    r"|let(?:['’]s| us| me) (?:verify|check)|to (?:verify|check)"
    r"|(?:erklärung|begründung|probe|überprüfung|schritt|rechnung|lösungsweg)"
    r"|(?:explication|vérification|étape)"
    r"|(?:explicación|comprobación|verificación|paso)|(?:explicação|verificação|passo)|(?:spiegazione|verifica|passaggio)"
    r"|(?:uitleg|controle|stap)|(?:объяснение|пояснение|проверка|решение|шаг)|(?:пояснення|перевірка|крок|розв['’]язання)"
    r"|(?:wyjaśnienie|sprawdzenie|krok)|(?:vysvětlení|vysvetlenie|kontrola|krok)|(?:açıklama|kontrol|adım)"
    r"|(?:penjelasan|langkah|verifikasi)|(?:giải thích|kiểm tra|bước)|(?:maelezo|ufafanuzi|hatua)|(?:bayani|mataki)"
    r"|(?:解释|解釋|解析|验证|驗證|检验|步骤|步驟)|(?:説明|解説|検算|ステップ|手順)|(?:설명|해설|검산|단계|풀이)"
    r"|(?:คำอธิบาย|ตรวจสอบ|ขั้นตอน)|(?:ব্যাখ্যা|যাচাই|ধাপ)|(?:व्याख्या|स्पष्टीकरण|जाँच|चरण)|(?:వివరణ|దశ)|(?:விளக்கம்|படி)"
    r"|(?:الشرح|شرح|التوضيح|توضيح|التحقق|الخطوة)|(?:توضیح|بررسی|مرحله)|(?:הסבר|בדיקה|שלב))"
)
_EXPLANATION = re.compile(rf"[\s*_#>(\-–—]*{_EXPLAINS}(?![^\W\d_]{{3}})")
_NEW_QUESTION = re.compile(r"\n\n(?=[^\n\d]*\d+[^\n\d]+\d)[^\n]{30,600}[?？؟]\s*\n")
_VERIFICATION = re.compile(
    r"\n[ \t*_#>(]*(?:verification|check|proof|let(?:['’]s| us| me) (?:verify|check)|to (?:verify|check)"
    r"|probe|überprüfung|vérification|comprobación|verificación|verificação|verifica|controle|проверка|перевірка|sprawdzenie"
    r"|kontrola|sağlama|验证|驗證|检验|検算|검산|যাচাই|जाँच)[ \t*_]*[:：\n]"
)
_UNIT_ALONE = re.compile(r"[\s*_]*(?:[^\W\d_][^\d\n.,:;=!?|]{0,24})?[%°€$£¥]?[.!。]?[\s*_]*")
_BEFORE_ALONE = re.compile(r"[\s*_#$€£¥₹≈>\"']*")
# Conjunctions that open a reason. Those that also mean "therefore" (vì vậy, karena itu, kwa sababu hiyo) do not count then.
_REASON = re.compile(
    "(?:"
    + any_of(
        (
            *("because", "weil", "porque", "perché", "poiché", "omdat", "потому что", "так как", "тому що"),
            *("оскільки", "бо", "ponieważ", "protože", "pretože", "eftersom", "fordi", "koska", "çünkü", "karena", "kerana"),
            *("kwa sababu", "vì"),
        ),
        whole=True,
    )
    + r")(?!\w)(?! itu| hiyo| vậy| thế)|parce qu|puisqu|因为|因為|เพราะ(?!ฉะนั้น|ดังนั้น|เหตุนี้)"
    r"|কারণ|क्योंकि|ఎందుకంటే|لأن|زیرا|چون|כי "
)
_GIVES = re.compile(rf"{_REASON.pattern}|, which is ")
_COMPARED = re.compile(r" (?:\w+ )?(?:fewer|less|more|greater|higher|lower|smaller|larger)\b")  # which is 2 apples fewer
_THEREFORE = re.compile(
    r"\b(?:so|then|thus|hence|therefore|leav(?:es|ing)|giv(?:es|ing)|mak(?:es|ing)|also|daher|deshalb|somit|donc|alors|entonces"
    r"|por lo tanto|así|então|quindi|dus|поэтому|значит|тому|więc|takže|tedy|yani|jadi|maka|nên|vậy|kwa hiyo|hivyo"
    r"|saboda haka)\b|所以|因此|だから|よって|그래서|따라서|ดังนั้น|จึง|তাই|সুতরাং|इसलिए|అందువల్ల|కాబట్టి|لذلك|پس|לכן"
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|[。।॥؟።။۔\n]")
# 2 in "after 2 steps" and in "rounded to 2 decimals" says how, and is not an answer
_HOW_MANY_STEPS = re.compile(
    r" ?(?:steps?|schritt|étape|paso|passo|passagg|stap|шаг|крок|kro[kc]|steg|trin|adım|langkah|bước|ขั้นตอน|个?步|ステップ|단계"
    r"|ধাপ|चरण|decimals?\b|decimal places|significant|nachkommastell|dezimalstell|décimale|decimales|casas decimais|decimali)"
)
_HOW_BEFORE = re.compile(
    r"(?:\b(?:in|after|to|nach|auf|en|après|à|tras|después de|em|após|dopo|za|за|после|до|через|w|po|ve|efter|på|dalam"
    r"|setelah|trong|sau)|共|经过|經過|用了?|ใน|หลังจาก) ?$"
)


def answer_before_explanation(text: str, low: str, numbers: Sequence[Number]) -> Number | None:
    """The number that stands alone on the first line before an explanation, or the last one before a verification."""
    if "\n" not in text:
        return None
    first = numbers[0]
    if first.start <= _LONGEST_OPENING and _BEFORE_ALONE.fullmatch(text, 0, first.start):
        line = text.find("\n", first.end)
        alone = line >= 0 and _UNIT_ALONE.fullmatch(text, first.end, line)
        if alone and (_EXPLANATION.match(low, line) or _NEW_QUESTION.match(text, line)):
            return first
    verification = _VERIFICATION.search(low, first.end)
    if verification is None:
        return None
    return numbers[bisect_right(numbers, verification.start(), key=lambda number: number.end) - 1]


def number_before_reason(low: str, numbers: Sequence[Number]) -> Number | None:
    """The last number that gives no reason and no number of steps: 18 in "He has 18 because he ate 2", "18 after 2 steps"."""
    last = numbers[-1]
    if len(numbers) < 2:
        return None
    before = numbers[-2]
    if _HOW_MANY_STEPS.match(low, last.end) and _HOW_BEFORE.search(low, max(0, last.start - 12), last.start):
        return before
    begin = numbers[max(0, len(numbers) - 4)].end if len(numbers) > 3 else numbers[0].end
    if last.start - before.end > _LONGEST_CLAUSE or not _GIVES.search(low, begin, last.start):
        return None
    for place in range(len(numbers) - 2, max(-1, len(numbers) - 5), -1):
        gap = low[numbers[place].end : numbers[place + 1].start]
        if "=" in gap or len(gap) > _LONGEST_CLAUSE or _SENTENCE_END.search(gap) or _THEREFORE.search(gap):
            return None
        if gives_reason(low, numbers[place], numbers[place + 1]):
            return numbers[place]
    return None


def gives_reason(low: str, before: Number, number: Number) -> bool:
    """Whether a number belongs to a reason or a comparison after another number: 2 in "18 because he ate 2"."""
    gap = low[before.end : number.start]
    return _REASON.search(gap) is not None or (gap.endswith(", which is ") and _COMPARED.match(low, number.end) is not None)
