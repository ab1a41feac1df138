"""The doctor's findings in words: what was found, what to click, and where in the developer console that is."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .adminrows import pill
from .codes import explain
from .features import FEATURES
from .models import Bot, Hearing
from .words import refusal_words, type_words

Text = str | Promise

CONSOLES = ("https://open.feishu.cn", "https://open.larksuite.com")
# Pages of an app in the developer console: https://open.feishu.cn/app/<app_id>/<page>
BASICS, ABILITY, EVENTS, SCOPES, VERSION, SAFETY = "baseinfo", "bot", "event", "auth", "version", "safe"

CHECKS: Mapping[str, Text] = {
    "credentials": _("Credentials"),
    "enabled": _("Bot ability"),
    "domain": _("API domain"),
    "keys": _("Encrypt Key and token"),
    "challenge": _("Challenge"),
    "reachable": _("Reachable from outside"),
    "transport": _("Way of the events"),
    "features": _("Feature"),
    "last_event": _("Last event"),
    "database": _("Database"),
    "clock": _("Clock"),
    "worker": _("Worker"),
    "listeners": _("Listeners"),
    "queue": _("Outbox"),
}


@dataclass(frozen=True)
class Sentence:
    """`advice` says what to do, `page` where in the developer console; both are empty where nothing is to be done."""

    text: Text
    advice: Text = ""
    page: str = ""


_START_WORKER = _("Start a worker: manage.py run_worker")
_START_LISTENER = _("Start a listener: manage.py listen")
_ENTER_KEYS = _(
    "Open “Events & callbacks → Encryption strategy”, copy Encrypt Key and Verification Token into the bot's page."
)
_PASTE_URL = _("Open “Events & callbacks”, paste the request URL and save it: Feishu checks it at once.")
_PUBLISH = _("Then create a version and publish it: before that nothing takes effect.")

SAYS: Mapping[str, Sentence] = {
    "credentials_right": Sentence(_("Feishu gives a token and knows the app as “%(name)s”.")),
    "credentials_wrong": Sentence(
        _("Feishu refuses the App ID or App Secret (%(code)s)."),
        _("Open “Credentials & basic info”, copy App ID and App Secret into the bot's page."),
        BASICS,
    ),
    "credentials_refused": Sentence(
        _("Feishu refuses (%(code)s): %(meaning)s. %(why)s"),
        _("Correct the app, then create a version and publish it."),
        SAFETY,
    ),
    "feishu_unreachable": Sentence(
        _("%(domain)s does not answer: %(why)s"),
        _("Let this machine reach it over HTTPS: firewall, proxy (HTTPS_PROXY), DNS."),
    ),
    "no_tenant": Sentence(
        _("Feishu gives the app a token. No tenant that has installed it was heard of yet."),
        _("Have a tenant install the app and add its bot to a group, then check again."),
    ),
    "no_ticket": Sentence(
        _("Feishu has not pushed an app_ticket yet, without which it gives no token. It was asked to."),
        _(
            "The ticket comes to the request URL: open “Events & callbacks”, is it saved? Check again in a minute."
        ),
        EVENTS,
    ),
    "secret_unreadable": Sentence(
        _("A secret was sealed with another key."),
        _("Restore SEALING_KEYS, or enter the secrets again on the bot's page."),
    ),
    "disabled_here": Sentence(
        _("The bot is switched off in this console."), _("Switch it on, on the bot's page.")
    ),
    "bot_enabled": Sentence(_("The app's bot is enabled.")),
    "bot_not_enabled": Sentence(
        _("The app's bot is not enabled (status %(status)s)."),
        _("Open “Add features → Bot”, switch it on, create a version and publish it."),
        ABILITY,
    ),
    "domain_right": Sentence(_("%(domain)s is right.")),
    "domain_wrong": Sentence(
        _("The app belongs to %(domain)s."), _("Enter that as the API domain on the bot's page."), BASICS
    ),
    "domain_unknown": Sentence(
        _("%(domain)s is neither Feishu nor Lark: a sandbox?"),
        _("For the real platform: https://open.feishu.cn or https://open.larksuite.com"),
    ),
    "keys_not_needed": Sentence(_("Not needed: the long connection vouches for its events.")),
    "token_missing": Sentence(
        _("The bot has no Verification Token: everything is refused."), _ENTER_KEYS, EVENTS
    ),
    "keys_wrong": Sentence(_("The newest request was refused: %(why)s"), _ENTER_KEYS, EVENTS),
    "keys_unproven": Sentence(_("Nothing has arrived yet, so nothing proves them."), _PASTE_URL, EVENTS),
    "keys_right": Sentence(_("They fit what arrives.")),
    "challenge_right": Sentence(_("The request URL answers a challenge in %(ms)s ms.")),
    "challenge_slow": Sentence(
        _("The request URL answers a challenge in %(ms)s ms; Feishu waits 1 s."),
        _("Give the web process more room: CPU, workers, a database that is near."),
    ),
    "challenge_wrong": Sentence(
        _("The request URL answers a challenge with HTTP %(status)s: %(url)s"),
        _("Let the proxy pass this address through to the console, body and headers unchanged."),
    ),
    "challenge_unreachable": Sentence(
        _("%(url)s cannot be reached from this process, so the challenge was not tried."),
        _(
            "Check PUBLIC_URL, and that the web process runs. Behind some networks it is reachable from outside only."
        ),
    ),
    "reachable": Sentence(_("Feishu reached it: the last event by webhook came at %(at)s.")),
    "public_url_local": Sentence(
        _("PUBLIC_URL is %(url)s: Feishu cannot reach that."),
        _("Set PUBLIC_URL to an address that is reachable from the internet, or use the long connection."),
        EVENTS,
    ),
    "only_refusals": Sentence(
        _("Requests arrive, but none was let in."),
        _("Look at the refused requests; if they are not Feishu's, paste the request URL again."),
        EVENTS,
    ),
    "nothing_arrived": Sentence(_("Nothing has arrived at %(url)s yet."), _PASTE_URL, EVENTS),
    "transport_right": Sentence(_("Events come by %(set)s, as the bot's page says.")),
    "transport_differs": Sentence(
        _("The bot's page says %(set)s, but the newest event came by %(came)s."),
        _("Make them agree: on the bot's page, or in “Events & callbacks → Subscription mode”."),
        EVENTS,
    ),
    "nobody_listens": Sentence(
        _("The bot uses the long connection, and nobody listens."), _START_LISTENER, EVENTS
    ),
    "feature_works": Sentence(_("%(feature)s: its events have been seen, no scope is missing.")),
    "feature_unseen": Sentence(
        _("%(feature)s: not seen yet: %(events)s"),
        _(
            "If it should work: open “Events & callbacks”, add these events. Then create a version and publish it."
        ),
        EVENTS,
    ),
    "feature_lacks_scopes": Sentence(
        _("%(feature)s: Feishu asks for scopes: %(scopes)s"),
        _("Open “Permissions & scopes”, add them. Then create a version and publish it."),
        SCOPES,
    ),
    "scopes_missing": Sentence(
        _("Feishu asks for scopes: %(scopes)s"),
        _("Open “Permissions & scopes”, add them. Then create a version and publish it."),
        SCOPES,
    ),
    "no_event_yet": Sentence(
        _("No event has come yet."), _("Add the bot to a group, or write to it, and check again."), EVENTS
    ),
    "event_came": Sentence(_("The last event came at %(at)s.")),
    "bot_is_deaf": Sentence(
        _("The bot is deaf: %(why)s. The last event came at %(at)s."),
        _(
            "Open “Events & callbacks”: are request URL, keys and subscription mode as here? Is the app enabled?"
        ),
        EVENTS,
    ),
    "database_answers": Sentence(_("It answers (%(vendor)s).")),
    "clock_right": Sentence(_("It agrees with Feishu's to %(seconds)s s.")),
    "clock_wrong": Sentence(
        _("It is %(seconds)s s away from Feishu's."), _("Let this machine keep its time by NTP.")
    ),
    "clock_unknown": Sentence(_("%(domain)s told no time."), _("See the credentials: is it reachable?")),
    "worker_alive": Sentence(_("A worker is alive.")),
    "no_worker": Sentence(_("No worker has been seen lately: nothing is sent."), _START_WORKER),
    "listeners_live": Sentence(_("%(count)s connections are live.")),
    "no_listener": Sentence(_("No long connection is live."), _START_LISTENER),
    "queue_moves": Sentence(_("Nothing waits that could be sent.")),
    "queue_stands": Sentence(
        _("A call that could be made has waited for %(minutes)s minutes."),
        _("Is a worker running, are there enough of them? See the outbox for errors."),
    ),
}
LEVELS: Mapping[str, tuple[Text, str]] = {
    "ok": (_("good"), "sent"),
    "warn": (_("look"), "late"),
    "fail": (_("bad"), "failed"),
}


def text_of(finding: Mapping[str, Any]) -> str:
    """What was found; a finding of an older version, whose sentence is gone, says its name."""
    sentence = SAYS.get(str(finding["says"]))
    if sentence is None:
        return str(finding["says"])
    told = {name: _told(name, value) for name, value in finding["told"].items()}
    return str(sentence.text) % {"meaning": _meaning(finding), **told}


def advice_of(finding: Mapping[str, Any]) -> str:
    sentence = SAYS.get(str(finding["says"]))
    return str(sentence.advice) if sentence else ""


def link_of(finding: Mapping[str, Any], bot: Bot | None) -> str:
    """The page of the developer console where it is clicked; "" where there is none."""
    sentence = SAYS.get(str(finding["says"]))
    if sentence is None or not sentence.page or finding["level"] == "ok" or bot is None:
        return ""
    return console_url(bot, sentence.page)


def console_url(bot: Bot, page: str) -> str:
    return f"{bot.domain}/app/{bot.app_id}/{page}" if bot.domain in CONSOLES else ""


def _meaning(finding: Mapping[str, Any]) -> str:
    code = finding["told"].get("code")
    return str(explain(code).meaning) if isinstance(code, int) else ""


def _told(name: str, value: Any) -> str:
    if name == "at":
        at = parse_datetime(str(value))
        return timezone.localtime(at).strftime("%Y-%m-%d %H:%M:%S") if at else str(value)
    if name == "feature":
        return str(FEATURES[value].words) if value in FEATURES else str(value)
    if name == "events":
        return "、".join(f"{type_words(one)} ({one})".strip() for one in value)
    if name == "scopes":
        return ", ".join(gettext("unnamed") if one == "?" else one for one in value)
    if name == "why":
        reasons = dict(Hearing.Reason.choices)
        return str(reasons.get(value) or refusal_words(str(value)))
    if name in ("set", "came"):
        return str(dict(Bot.Transport.choices).get(value, value))
    return str(value)


def lines(findings: Iterable[Mapping[str, Any]], bot: Bot | None) -> list[dict[str, Any]]:
    """Findings for the page, what is bad first."""
    order = list(LEVELS)[::-1]
    return [
        {
            "check": CHECKS.get(one["check"], one["check"]),
            "mark": pill(LEVELS[one["level"]][1], str(LEVELS[one["level"]][0])),
            "text": text_of(one),
            "advice": advice_of(one) if one["level"] != "ok" else "",
            "link": link_of(one, bot),
        }
        for one in sorted(findings, key=lambda one: order.index(one["level"]))
    ]
