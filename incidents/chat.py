"""What Feishu sees of an incident: its chat, its card, its lines. Everything is outbox rows; each step queues the next.

begin -> (people found) -> chat created -> card sent -> pinned, tab, buzz; the image joins the card when it is up.
A chain that was interrupted goes on where it was: events.followup.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import Case, F, Value, When
from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from events import clock, outbox
from events.cards import dumps
from events.models import Bot, OutboxItem

from .cards import alert_card, shortened
from .phrases import duration, one_line

if TYPE_CHECKING:
    from .models import Actor, Incident, Responder, TimelineEntry

Text = str | Promise

REMINDER, CREATION = "incident.reminder", "incident.chat"
RENAMES = ("acknowledged", "resolved", "false_alarm", "reopened", "severity")
SETTLES = ("acknowledged", "resolved", "false_alarm", "muted")
CHAT_NAME_LENGTH = 60
LINE_LENGTH = 500
PEOPLE_PER_CALL = 50
# What is posted in the chat: the line, and what follows where something was written.
LINES: Mapping[str, tuple[Text, Text]] = {
    "acknowledged": (gettext_lazy("%(person)s has taken it"), ""),
    "resolved": (
        gettext_lazy("The problem is solved, well done! It took %(time)s"),
        gettext_lazy(": %(what)s"),
    ),
    "false_alarm": (gettext_lazy("%(person)s reports a false alarm"), gettext_lazy(": %(what)s")),
    "reopened": (gettext_lazy("%(person)s has opened it again"), gettext_lazy(": %(what)s")),
    "severity": (gettext_lazy("%(person)s has set the severity to %(what)s"), ""),
    "lead": (gettext_lazy("%(person)s has named the lead: %(what)s"), ""),
    "muted": (gettext_lazy("%(person)s has muted it until %(what)s"), ""),
    "alert": ("%(what)s", ""),
    "recovered": (gettext_lazy("The alert has recovered: %(what)s"), ""),
}
_NOBODY_SEES_IT = gettext_lazy(
    "%(incident)s: nobody sees it, only the bot is in its chat. Call people: %(url)s"
)
_HAS_NO_CHAT = gettext_lazy("%(incident)s has no chat, Feishu refuses to make one: %(why)s. %(url)s")
CHAT_GONE_CODES = (232009, 230002, 232011)


@contextmanager
def language_of_the_chat() -> Iterator[None]:
    """A chat has one language, whoever's browser it was that changed something."""
    with translation.override(settings.LANGUAGE_CODE):
        yield


def chat_name(incident: Incident) -> str:
    """`[P0] title`, `[处理中] title` or `[已解决] title`, cut to what Feishu takes."""
    with language_of_the_chat():
        prefixes = {"open": incident.severity, "acknowledged": _("In progress"), "resolved": _("Solved")}
        return f"[{prefixes[incident.status]}] {one_line(incident.title)}"[:CHAT_NAME_LENGTH].rstrip()


def begin(incident: Incident, image: bytes) -> None:
    """Queues the first calls of a new incident."""
    if image:
        # On a target of its own: the chat must not wait for a picture.
        outbox.upload_image(
            incident.bot,
            target=f"{incident.key}:image",
            image=image,
            **row(incident, "image", "incident.image"),
        )
    _gather(incident)


def _gather(incident: Incident) -> None:
    """The chat, once it is known who is to be in it."""
    strangers = list(incident.responders.filter(open_id="", status="waiting"))
    if not strangers:
        create_chat(incident)
    for number in range(0, len(strangers), PEOPLE_PER_CALL):
        part = strangers[number : number + PEOPLE_PER_CALL]
        _find_people(incident, part, _of_this_chat(incident, f"people:{part[0].pk}"))


def begin_again(incident: Incident) -> None:
    """A new chat in place of one that is gone, with everyone who was in that; see docs/decisions/0008.

    Nothing happens while the chat stands; one that could not be made is tried again under the same key. The caller
    has locked the row by an update or a select_for_update.
    """
    if not incident.chat_id:
        OutboxItem.objects.filter(key=key_of_the_chat(incident)).retry(clock.now())
    former = incident.chat_id
    rows = type(incident).objects.filter(pk=incident.pk, chat_id=former, chat_gone=True).exclude(chat_id="")
    fresh = {"chat_generation": F("chat_generation") + 1, "revision": F("revision") + 1}
    if not rows.update(chat_id="", chat_gone=False, card_message_id="", **fresh):
        return
    incident.refresh_from_db()
    incident.former_chats.create(chat_id=former)
    incident.call_in_again()
    with language_of_the_chat():
        record(incident, _("The chat is gone: a new one is being made for everyone"))
    _gather(incident)


def go_on_elsewhere(incident: Incident) -> None:
    """The chat turned out to be gone. Was the incident opened again, and nobody has been heard there since, then
    the reopening has reached nobody, and a new chat begins; once for each reopening."""
    if incident.status == "resolved" or (reopened := incident.reopened_unheard()) is None:
        return
    if not incident.former_chats.filter(left_at__gte=reopened).exists():
        begin_again(incident)


def add_responders(incident: Incident) -> None:
    """Queues what is missing for everyone who waits; without a chat, its creation takes them along."""
    if not incident.chat_id or incident.chat_gone:
        return
    strangers = list(incident.responders.filter(open_id="", status="waiting"))
    if strangers:
        _find_people(incident, strangers[:PEOPLE_PER_CALL], f"people:{strangers[0].pk}:{incident.revision}")
    waiting = list(incident.responders.filter(status="waiting").exclude(open_id=""))
    for number in range(0, len(waiting), PEOPLE_PER_CALL):
        add_members(incident, waiting[number : number + PEOPLE_PER_CALL])


def show(incident: Incident, entry: TimelineEntry, by: Actor) -> None:
    """Queues what everyone in the chat must see of a change; before there is a chat, its creation shows it."""
    if not incident.chat_id or incident.chat_gone:
        return
    if entry.kind in SETTLES:
        forget_reminders(incident)
    patch(incident)
    if entry.kind in RENAMES:
        rename(incident)
    say(incident, entry, by)
    if entry.kind == "severity":
        buzz(incident)


def say(incident: Incident, entry: TimelineEntry, by: Actor) -> None:
    """Queues the line that LINES has for the entry; nothing where there is no chat or no line."""
    line = _line(incident, entry, by)
    if line and incident.chat_id and not incident.chat_gone:
        it = row(incident, f"line:{entry.pk}", "incident.line")
        outbox.send_text(incident.bot, chat_id=incident.chat_id, markup=line, **it)


def catch_up(incident: Incident) -> None:
    """Back in the chat: it is told the present state, whatever was said while nobody could hear it."""
    rows = type(incident).objects.filter(pk=incident.pk, chat_id=incident.chat_id, chat_gone=True)
    if not rows.update(chat_gone=False, revision=F("revision") + 1):
        return  # some other bot was added
    incident.refresh_from_db()
    ours = OutboxItem.objects.filter(key=key_of_the_chat(incident))
    if incident.card_message_id:
        patch(incident)
    elif ours.exists():
        send_card(incident)
    else:
        return  # a chat that was imported: nothing is said there
    rename(incident)
    add_responders(incident)


def is_our_name(incident: Incident, name: str) -> bool:
    """Whether we gave the chat this name: the news of it may come when the next name is on its way."""
    renames = OutboxItem.objects.filter(bot=incident.bot, target=incident.chat_id, call="rename_chat")
    return name == chat_name(incident) or renames.filter(arguments__name=name).exists()


def _line(incident: Incident, entry: TimelineEntry, by: Actor) -> str:
    """The line in the chat, in Feishu's text markup; "" for what the card alone shows."""
    if entry.kind not in LINES:
        return ""
    what = outbox.plain(shortened(entry.text, LINE_LENGTH))
    with language_of_the_chat():
        said, more = (str(words) for words in LINES[entry.kind])
        values = {
            "person": by.markup,
            "what": outbox.at(entry.text) if entry.kind == "lead" else what,
            "time": duration(incident.duration),
        }
        return said % values + (more % values if what else "")


def create_chat(incident: Incident) -> None:
    known = incident.responders.filter(status="waiting").exclude(open_id="")[:PEOPLE_PER_CALL]
    outbox.create_chat(
        incident.bot,
        name=chat_name(incident),
        description=incident.description[:100],
        open_ids=_each_once(known),
        **row(incident, _of_this_chat(incident, "chat"), CREATION),
    )


def may_be_ours(name: str) -> bool:
    """Whether a chat of this name may be an incident's whose id we have not heard yet."""
    return name.startswith("[")


def being_made(bot: Bot, name: str) -> Incident | None:
    """The incident whose chat of this name Feishu may have made already, before we are told its id.

    Ask it before `in_chat`: the id is stored in the transaction that ends the making. Asked for every person who
    joins any chat, so a name that is none of ours (`may_be_ours`) costs nothing. Of two chats of one name it is the
    newer one's: a line may come to stand in the wrong timeline, but nobody is greeted.
    """
    if not may_be_ours(name):
        return None
    making = OutboxItem.objects.filter(bot=bot, step=CREATION, followed_up=False, arguments__name=name)
    item = making.order_by("-pk").first()
    return item.subject if item else None


def key_of_the_chat(incident: Incident) -> str:
    """The key (and uuid) under which its present chat is made: one for each generation, so never two chats."""
    return str(row(incident, _of_this_chat(incident, "chat"), "")["key"])


def _of_this_chat(incident: Incident, suffix: str) -> str:
    return suffix if incident.chat_generation == 1 else f"{suffix}:{incident.chat_generation}"


def _find_people(incident: Incident, people: Sequence[Responder], suffix: str) -> None:
    outbox.find_people(
        incident.bot,
        target=str(incident.key),
        emails=[one.email for one in people if one.email],
        mobiles=[one.mobile for one in people if one.mobile],
        **row(incident, suffix, "incident.people"),
    )


def add_members(incident: Incident, people: Sequence[Responder]) -> None:
    it = row(incident, f"add:{people[0].pk}:{len(people)}:{incident.revision}", "incident.members")
    outbox.add_members(incident.bot, chat_id=incident.chat_id, open_ids=_each_once(people), **it)


def _each_once(people: Iterable[Responder]) -> list[str]:
    """Their open_ids; whoever was called in by open_id and by address is one person."""
    return list(dict.fromkeys(one.open_id for one in people))


def send_card(incident: Incident) -> None:
    """A card, unless one is on its way already: then on_card_sent brings it up to date."""
    cards = OutboxItem.objects.filter(bot=incident.bot, target=incident.chat_id, step="incident.card")
    if cards.unfinished().exists():
        return
    with language_of_the_chat():
        card = alert_card(incident)
    it = row(incident, f"card:{incident.revision}:{cards.count()}", "incident.card")
    outbox.send_card(incident.bot, chat_id=incident.chat_id, card=card, **it)


def patch(incident: Incident, after: OutboxItem | None = None) -> None:
    """Brings the card up to date; `after` is the call that left it behind."""
    if not incident.card_message_id:
        return
    with language_of_the_chat():
        card = alert_card(incident)
    it = row(incident, f"patch:{incident.revision}:{after.pk if after else 0}", "incident.patch")
    outbox.patch_card(
        incident.bot, chat_id=incident.chat_id, message_id=incident.card_message_id, card=card, **it
    )


def rename(incident: Incident, after: OutboxItem | None = None) -> None:
    it = row(incident, f"rename:{incident.revision}:{after.pk if after else 0}", "incident.name")
    outbox.rename_chat(incident.bot, chat_id=incident.chat_id, name=chat_name(incident), **it)


def row(incident: Incident, suffix: str, step: str) -> dict[str, Any]:
    return {"key": f"inc:{incident.key}:{suffix}", "step": step, "subject": incident}


def decorate(incident: Incident) -> None:
    """Once a chat: the tab that opens the console, and for P0 the phones."""
    url = console_url(incident)
    it = row(incident, _of_this_chat(incident, "tab"), "incident.extra")
    outbox.add_chat_tab(incident.bot, chat_id=incident.chat_id, name=incident.number, url=url, **it)
    buzz(incident)


def buzz(incident: Incident) -> None:
    """Rings everyone's phone for a P0 that nobody has taken."""
    people = list(incident.responders.filter(status="added").values_list("open_id", flat=True)[:200])
    if incident.severity == "P0" and not incident.drill and people and incident.status == "open":
        it = row(incident, f"buzz:{incident.revision}", "incident.extra")
        if message_id := incident.card_message_id:
            outbox.buzz(incident.bot, chat_id=incident.chat_id, message_id=message_id, open_ids=people, **it)


def converge(incident: Incident, item: OutboxItem) -> None:
    """A card that shows an older state, because calls overtook each other in an outage, is brought up to date."""
    with language_of_the_chat():
        present = dumps(alert_card(incident))
    if item.arguments["content"] != present:
        patch(incident, after=item)


def forget_reminders(incident: Incident) -> None:
    """Reminders that Feishu has not taken yet; what they say is no longer true.

    That is no failure that anyone must look at, or retry; but one that may have arrived is not called superseded.
    """
    rows = OutboxItem.objects.filter(bot=incident.bot, target=incident.chat_id, step=REMINDER)
    with language_of_the_chat():
        why = _("no longer true")
    status = Case(
        When(unsure=True, then=Value(OutboxItem.Status.FAILED)), default=Value(OutboxItem.Status.SUPERSEDED)
    )
    rows.filter(status=OutboxItem.Status.PENDING).update(status=status, error=why, followed_up=True)


def chat_is_gone(incident: Incident, reason: str) -> None:
    """Nothing more is sent there; what was waiting fails at once, with the reason. Written down once."""
    rows = type(incident).objects.filter(pk=incident.pk, chat_id=incident.chat_id, chat_gone=False)
    news = rows.update(chat_gone=True)
    waiting = OutboxItem.objects.filter(
        bot=incident.bot, target=incident.chat_id, status=OutboxItem.Status.PENDING
    ).exclude(step="incident.archive")  # which wants just that
    waiting.update(status=OutboxItem.Status.FAILED, error=reason[:500], followed_up=True)
    if news:
        record(incident, reason)
        go_on_elsewhere(incident)


def call_for_help(incident: Incident, suffix: str = "") -> None:
    """Where only the bot is in the chat, no line there reaches anyone: the bot's alarm chat is told.

    `suffix` tells apart the occasions; on each it is said once.
    """
    if not incident.calls_nobody:
        return
    _raise_alarm(incident, f"nobody{suffix}", _NOBODY_SEES_IT)


def tell_of_no_chat(incident: Incident, why: str) -> None:
    """Feishu makes no chat for it, so nobody hears of it there: the timeline and the bot's alarm chat do."""
    with language_of_the_chat():
        record(incident, _("The chat could not be made: %s") % why)
    if not incident.drill:
        _raise_alarm(incident, "nochat", _HAS_NO_CHAT, why=why)


def _raise_alarm(incident: Incident, suffix: str, said: Text, **values: str) -> None:
    with language_of_the_chat():
        title = "" if incident.private else f" [{incident.severity}] {incident.title}"
        values |= {"incident": f"{incident}{title}", "url": console_url(incident)}
        it = row(incident, _of_this_chat(incident, suffix), "")
        outbox.alarm(incident.bot, markup=outbox.plain(str(said) % values), **it)


def console_url(incident: Incident) -> str:
    return f"{settings.PUBLIC_URL}/admin/incidents/incident/{incident.pk}/change/"


def record(incident: Incident, text: str) -> None:
    """A line of the timeline that nobody wrote."""
    from .models import Actor, TimelineEntry, Via

    incident.write(TimelineEntry.Kind.CHAT, Actor(Via.SYSTEM), text=text)
