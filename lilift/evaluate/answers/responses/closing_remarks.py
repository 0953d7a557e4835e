"""Finds where a response ends its answer and closes with remarks, such as "This took 2 steps." or "Let me know …"."""

from __future__ import annotations

import re

_STEPS = (
    r"(?:steps?|lines?|operations?|calculations?|equations?|schritten?|pasos|étapes|passos|passaggi|steg|trin|stappen|kroków|krocích"
    r"|шага|шагов|шаг|кроки|кроків|adımda|langkah|bước|hatua|matakai|चरणों|चरण|ধাপে|ধাপ|ขั้นตอน|步骤|步|ステップ|단계)"
)
# Beginnings of sentences that talk to the reader and no longer about the problem.
_REMARKS = (
    r"let me know\b",
    r"(?:please )?feel free\b",
    r"please (?:let|feel|note|ask|tell)\b",
    r"(?:i )?hope (?:this|that|it|you|the)\b",
    r"i hope\b",
    r"if you(?:['’]d| would| have| need| want| wish)\b[^.\n]{0,60}\b"
    r"(?:questions?|examples?|help|explanations?|details?|practice|exercises?)\b",
    r"would you like\b",
    r"do you (?:want|need|have)\b[^.\n]{0,60}\?",
    r"(?:is|was) there anything\b",
    r"(?:thanks|thank you)\b",
    r"(?:this|that|it|which|i|we) (?:took|takes|required?|needed|used)\b[^.\n]{0,30}\b" + _STEPS,
    r"(?:done|solved|found|calculated|computed|answered) in \d+ " + _STEPS,
    r"\d+ " + _STEPS + r"[.!)]*(?=\s*$)",
    r"(?:the (?:answer|result) (?:is|was) )?rounded to \d+ (?:decimals?|decimal places?|significant|digits?)\b",
    r"(?:confidence|difficulty)\b",
    r"lass(?:en sie)? (?:es )?mich wissen|lass mich wissen|ich hoffe",
    r"avísame|házmelo saber|espero que (?:esto|te|le)",
    r"n['’]hésite|j['’]espère|faites-moi savoir",
    r"fammi sapere|fatemi sapere|spero che",
    r"me avise|me diga se|espero que (?:isto|isso|tenha)",
    r"дайте (?:мне )?знать|надеюсь|дай знать|якщо у вас|сподіваюся",
    r"希望这|希望對|希望对|(?:如果[你您]|如)(?:还)?有[^。\n]{0,12}(?:问题|疑问|例子)|请告诉我",
    r"お役に立て|他に(?:何か)?質問|お気軽に",
    r"도움이 되|더 궁금",
    r"หวังว่า|หากคุณ(?:ต้องการ|มี)[^\n]{0,20}(?:คำถาม|ตัวอย่าง)",
    r"मुझे बताएं|(?:अगर|यदि) आप[^।\n]{0,40}(?:प्रश्न|सवाल|उदाहरण|मदद|सहायता)|आशा है",
    r"আমাকে জানান|যদি আপনার[^।\n]{0,40}(?:প্রশ্ন|উদাহরণ|সাহায্য)|আশা করি",
    r"nijulishe|natumai|tafadhali nijulishe|unaweza kuuliza",
    r"ina fatan|ka sanar da ni",
    r"beri tahu saya|beritahu saya|semoga|jika anda (?:memiliki|membutuhkan|ingin)[^.\n]{0,40}(?:pertanyaan|contoh|bantuan)",
    r"hãy cho tôi biết|hy vọng|nếu bạn (?:cần|có|muốn)[^.\n]{0,40}(?:câu hỏi|ví dụ|giúp)",
    r"laat (?:het )?me weten|ik hoop",
    r"daj mi znać|mam nadzieję|dejte mi vědět",
    r"أخبرني|آمل أن|إذا كان لديك[^.\n]{0,30}(?:سؤال|أسئلة|استفسار)",
    r"umarım|bana bildir",
)
_REMARK = re.compile(rf"(?:[.!?。！？।।\n(*]|^)[ \t\n*_(>\-]*(?=(?:{'|'.join(_REMARKS)}))")
_WORDS = re.compile(  # quick test: every remark has one of these
    r"know|free|please|hope|if you|would you|do you|anything|thank|took|take|requir|need|used|rounded|confiden|difficul"
    r"| in \d|\d "
    r"|[^\x00-\x7f]|lass|avis|espero|nijulishe|natumai|beri|semoga|jika|laat|daj|dejte|fatan|sanar|spero|fam|fat|me |bana|ich"
    r"|ik |unaweza|tafadhali"
)


def without_closing_remarks(low: str, earliest: int) -> int:
    """Where the closing remarks of a response begin; the length of the text if it has none.

    A sentence closes the response if no working (an equation) follows it.

    Args:
        low: the response in lower case.
        earliest: where its first number ends; no remark before it counts.
    """
    if not _WORDS.search(low, earliest):
        return len(low)
    last_working = low.rfind("=")
    for match in _REMARK.finditer(low, max(0, earliest)):
        if match.start() >= last_working:
            return match.start()
    return len(low)
