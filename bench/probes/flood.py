"""`COUNT CHAT...`: queues welcomes for all chats but the last; at a line of input, an incident's card for that."""

import sys

from django.db import transaction

from events.models import Bot
from events.outbox import send_card

count, chats, incident_chat = int(sys.argv[1]), sys.argv[2:-1], sys.argv[-1]
bot = Bot.objects.get()


def card(text: str) -> dict[str, object]:
    return {"schema": "2.0", "body": {"elements": [{"tag": "markdown", "content": text}]}}


with transaction.atomic():
    for number in range(count):
        chat_id = chats[number % len(chats)]
        send_card(bot, chat_id=chat_id, card=card("welcome"), key=f"welcome:{bot.pk}:{number}")
print("queued", flush=True)
sys.stdin.readline()
send_card(bot, chat_id=incident_chat, card=card("INCIDENT"), key=f"inc:{bot.pk}:1:card")
print("queued", flush=True)
