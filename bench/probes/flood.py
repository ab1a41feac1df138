"""`COUNT CHAT...`: queues welcomes as the handlers do; at a line on its input it queues an incident's card."""

import sys

from django.db import transaction

from events.models import Bot
from events.outbox import send_card

count, chats = int(sys.argv[1]), sys.argv[2:]
bot = Bot.objects.get()


def card(text: str) -> dict[str, object]:
    return {"schema": "2.0", "body": {"elements": [{"tag": "markdown", "content": text}]}}


with transaction.atomic():
    for number in range(count):
        chat_id = chats[number % len(chats)]
        send_card(bot, chat_id=chat_id, card=card("welcome"), key=f"welcome:{bot.pk}:{number}")
print("queued", flush=True)
sys.stdin.readline()
send_card(bot, chat_id=chats[0], card=card("INCIDENT"), key=f"inc:{bot.pk}:1:card")
print("queued", flush=True)
