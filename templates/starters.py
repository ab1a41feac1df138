"""The first welcome template of each trigger, for a bot that has none; the operator rewrites them in the admin."""

import json

from events.models import Bot

from .models import Trigger, WelcomeTemplate

NAMES = {
    Trigger.MEMBER_JOINED: "新人入群欢迎",
    Trigger.CONVERSATION_STARTED: "首次会话欢迎",
    Trigger.BOT_JOINED: "机器人入群介绍",
}
TITLES = {
    Trigger.MEMBER_JOINED: '欢迎加入{{ chat.name|default:"本群" }}',
    Trigger.CONVERSATION_STARTED: "你好，我是{{ bot.name }}",
    Trigger.BOT_JOINED: "大家好，我是{{ bot.name }}",
}
TEXTS = {
    Trigger.MEMBER_JOINED: "{{ users.mentions }} 欢迎你！\n\n"
    "- 先看一看**群公告**，了解这里在做什么\n- 有问题直接在群里问，大家都很乐意帮忙",
    Trigger.CONVERSATION_STARTED: "{{ users.mentions }} 很高兴认识你。\n\n需要帮助时，随时在这里给我发消息。",
    Trigger.BOT_JOINED: "我会在新成员加入时送上欢迎卡片，并把这里的事件记录在控制台，方便值班同学查看。",
}


def starter_card(trigger: Trigger) -> str:
    """A small card (JSON 2.0) as the text an operator edits."""
    card = {
        "schema": "2.0",
        "config": {"update_multi": True},
        "header": {"template": "blue", "title": {"tag": "plain_text", "content": TITLES[trigger]}},
        "body": {
            "elements": [
                {"tag": "markdown", "content": TEXTS[trigger]},
                {"tag": "hr"},
                {"tag": "markdown", "text_size": "notation", "content": "{{ now }}"},
            ]
        },
    }
    return json.dumps(card, ensure_ascii=False, indent=2)


def make_starters(bot: Bot) -> list[WelcomeTemplate]:
    """One enabled template a trigger, if the bot has no template at all; those that were made."""
    if bot.welcome_templates.exists():
        return []
    templates = [
        WelcomeTemplate(bot=bot, trigger=trigger, name=NAMES[trigger], card=starter_card(trigger))
        for trigger in Trigger
    ]
    for template in templates:
        template.full_clean()
    return WelcomeTemplate.objects.bulk_create(templates)
