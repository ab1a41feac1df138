"""The invented people and groups a new sandbox starts with; nothing here is pushed."""

import hashlib
import random

from botconsole.sandbox.world import World

NAMES = (
    "青禾", "松果", "木棉", "小满", "阿柚", "拾光", "麦冬", "云朵", "白露", "南瓜", "石榴", "晚樱",
    "Juniper", "Maple", "Pixel", "Sorrel", "Tansy", "Bramble",
)  # fmt: skip
GROUPS = (("支付值班", (0, 1, 2, 12)), ("新人欢迎群", (0, 3, 4)))


def seed(world: World) -> None:
    """Once per state file (and after each reset)."""
    if not world.config.seed or world.store.recall("seeded"):
        return
    people = [
        world.add_person(name, _open_id(world, index), union_id=f"on_{index:032x}")
        for index, name in enumerate((*NAMES[:5], NAMES[12]), 0xA11CE)
    ]
    by_name = {person["name"]: person for person in people}
    for name, indexes in GROUPS:
        insiders = [by_name[NAMES[index]] for index in indexes]
        chat = world.add_chat(name, owner_id=insiders[0]["open_id"])
        world.join(chat, insiders, world.bot, push=False)
    world.store.remember("seeded", True)


def _open_id(world: World, index: int) -> str:
    """The same at every start, and another one for every app: open_ids belong to an app."""
    return f"ou_{hashlib.sha256(f'{world.config.app_id} {index}'.encode()).hexdigest()[:32]}"


def fresh_name(world: World) -> str:
    """An invented name nobody has yet."""
    used = {row["name"] for row in world.store.rows("SELECT name FROM people")}
    free = [name for name in NAMES if name not in used]
    if free:
        return random.choice(free)  # noqa: S311 (a name, not a secret)
    base = random.choice(NAMES)  # noqa: S311
    return next(name for number in range(2, 100_000) if (name := f"{base} {number}") not in used)
