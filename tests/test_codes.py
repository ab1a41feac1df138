"""Feishu's codes: the whole reaction table of its fact sheet, and words for every one of them."""

import re

import pytest
from django.utils import translation

from events.codes import ADVICE, MEANINGS, REACTIONS, Reaction, explain, reaction_to

LOCKED = "Failed to create card content, ext=ErrCode: 11310; ErrMsg: card action is lock; ErrorValue: "
BAD_JSON = "Failed to create card content, ext=ErrCode: 200621; ErrMsg: parse card json err"
# Copied from the fact sheet (4.7), not from the code.
TABLE = {
    Reaction.RETRY: "99991400 230020 11232 11233 11247 232019 230047 230049 232068 2200 1500 55001 232096",
    Reaction.TOKEN: "99991661 99991663 99991664 99991665 99991668 99991671 99991677",
    Reaction.APP: "99991672 99991679 99991662 99991673 99991401 99991403 10003 10014 10015 230006 232025 234007"
    " 232034",
    Reaction.TARGET: "230002 232011 232009 230013 230029 230034 99992351 99992360 99992364 99992361 230035 230038"
    " 230053 230054 230075",
    Reaction.CONTENT: "230001 230022 230028 230025 230055 230017 200570 230099 230015 230018 230019 230036",
    Reaction.GONE: "230011 230110 230111 230031",
}
CASES = [(int(code), reaction) for reaction, codes in TABLE.items() for code in codes.split()]


@pytest.mark.parametrize(("code", "reaction"), CASES)
@pytest.mark.parametrize("http_status", [200, 400, 500])
def test_a_code_is_reacted_to_as_the_table_says(code: int, reaction: Reaction, http_status: int) -> None:
    assert reaction_to(code, "whatever the message", http_status) is reaction


@pytest.mark.parametrize(("message", "reaction"), [(LOCKED, Reaction.RETRY), (BAD_JSON, Reaction.CONTENT)])
def test_a_card_that_is_locked_is_tried_again_and_a_bad_one_is_not(message: str, reaction: Reaction) -> None:
    assert reaction_to(230099, message, 400) is reaction


@pytest.mark.parametrize("http_status", [None, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("code", [None, 424242])
def test_an_answer_without_a_known_code_is_tried_again_if_feishu_was_busy_or_away(
    code: int | None, http_status: int | None
) -> None:
    assert reaction_to(code, "", http_status) is Reaction.RETRY


@pytest.mark.parametrize("http_status", [200, 400, 401, 403, 404, 499])
@pytest.mark.parametrize("code", [None, 424242])
def test_an_unknown_refusal_is_for_good(code: int | None, http_status: int) -> None:
    assert reaction_to(code, "card action is lock", http_status) is None


def test_a_code_stands_under_one_reaction_only() -> None:
    assert len(REACTIONS) == sum(len(codes) for codes in MEANINGS.values())


def test_every_reaction_has_an_advice_of_its_own() -> None:
    assert set(ADVICE) == set(Reaction)
    assert len({str(advice) for advice in ADVICE.values()}) == len(ADVICE)


@pytest.mark.parametrize("code", [*REACTIONS, None, 424242])
def test_every_code_has_a_meaning_and_an_advice_in_both_languages(code: int | None) -> None:
    explanation = explain(code)
    for text in (explanation.meaning, explanation.advice):
        with translation.override("en"):
            english = str(text)
        with translation.override("zh-hans"):
            chinese = str(text)
        assert english.isascii()
        assert re.search("[一-鿿]{2}", chinese), english
