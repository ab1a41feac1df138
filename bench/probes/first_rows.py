"""Makes the first event and the first call, of which the others are copies; prints their keys."""

from django.utils import timezone

from events.models import Bot, Event
from events.outbox import send_text
from events.reading import read_new

bot, now = Bot.objects.get(), timezone.now()
event_type = "im.message.receive_v1"
message = {"message_id": "om_0", "chat_id": "oc_0", "content": '{"text": "hello payments"}'}
event = Event.objects.create(
    bot=bot,
    event_id="ev_0",
    dedup_key="ev_0",
    event_type=event_type,
    schema="2.0",
    chat_id="oc_0",
    actor_open_id="ou_0",
    body={"schema": "2.0", "header": {"event_type": event_type}, "event": {"message": message}},
    status=Event.Status.IGNORED,
    created_at=now,
    received_at=now,
)
read_new()
call = send_text(bot, chat_id="oc_0", markup="hi", key="welcome:0")
print(event.pk, call.pk if call else 0)
