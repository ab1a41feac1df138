"""Ids in their kinds, the contact endpoints and the bot's own profile."""

from typing import Any

from botconsole.sandbox.call import Call, invalid
from botconsole.sandbox.errors import PlatformError
from botconsole.sandbox.grants import USER_IDS
from botconsole.sandbox.store import Row
from botconsole.sandbox.world import World

ID_KINDS = ("open_id", "union_id", "user_id")
STATUS = {
    "is_frozen": False,
    "is_resigned": False,
    "is_activated": True,
    "is_exited": False,
    "is_unjoin": False,
}


def find(world: World, kind: str, value: str) -> Row | None:
    """The person with this open_id, union_id, user_id, email or mobile."""
    if kind not in (*ID_KINDS, "email", "mobile") or not value:
        return None
    return world.store.row(f"SELECT * FROM people WHERE {kind} = ?", value)  # noqa: S608 (out of a fixed list)


def refuse_foreign(world: World, kind: str, values: list[str]) -> None:
    """open_ids belong to one app: those of another one are no ids here at all."""
    if kind != "open_id":
        return
    for value in values:
        if value and world.store.row("SELECT 1 FROM people WHERE other_open_id = ?", value):
            raise PlatformError(99992361, f"Invalid ids: [{value}]")


# Without the scope on the right a person's fields on the left are left out.
FIELD_SCOPES = (
    (("name", "en_name", "avatar"), "contact:user.base:readonly"),
    (("user_id",), USER_IDS),
    (("email",), "contact:user.email:readonly"),
    (("mobile",), "contact:user.phone:readonly"),
)


def status_of(person: Row) -> dict[str, bool]:
    return {**STATUS, "is_resigned": bool(person["resigned"])}


def get_user(world: World, call: Call) -> dict[str, Any]:
    kind = call.choice("user_id_type", ID_KINDS, "open_id")
    refuse_foreign(world, kind, [call.params["user_id"]])
    person = find(world, kind, call.params["user_id"])
    if person is None or not person["visible"]:
        raise PlatformError(41050)
    user = {
        "open_id": person["open_id"],
        "union_id": person["union_id"],
        "user_id": person["user_id"],
        "name": person["name"],
        "en_name": "",
        "email": person["email"],
        "mobile": person["mobile"],
        "avatar": {},
        "status": status_of(person),
        "department_ids": ["0"],
    }
    missing = world.missing_scopes
    hidden = {name for names, scope in FIELD_SCOPES if scope in missing for name in names}
    return {"user": {name: value for name, value in user.items() if name not in hidden}}


def batch_get_id(world: World, call: Call) -> dict[str, Any]:
    """Ids by mail address or mobile; who is not found is listed without a user_id."""
    kind = call.choice("user_id_type", ID_KINDS, "open_id")
    asked = [("email", value) for value in call.texts("emails", 50, 40001)]
    asked += [("mobile", value) for value in call.texts("mobiles", 50, 40001)]
    if not asked:
        raise invalid("emails", "emails or mobiles is required", 40001)
    told: list[dict[str, Any]] = []
    for what, value in asked:
        person = find(world, what, value)
        known = person is not None and person["visible"]
        if person is None or not known or (person["resigned"] and not call.body.get("include_resigned")):
            told.append({what: value})
        else:
            told.append({what: value, "user_id": person[kind], "status": status_of(person)})
    return {"user_list": told}


def bot_info(world: World, call: Call) -> dict[str, Any]:
    bot = {
        "activate_status": 2,
        "app_name": world.config.app_name,
        "avatar_url": "",
        "ip_white_list": [],
        "open_id": world.config.bot_open_id,
    }
    return {"msg": "ok", "bot": bot}
