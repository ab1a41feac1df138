"""The platform's rules about cards, as tables: limits, names, attributes. Facts only, no code that judges.

Rare attributes of 2.0 could not be verified, so the lists are generous: a wrong refusal here would be worse
than Feishu's own.
"""

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

MAX_BYTES = 30 * 1024
MAX_ELEMENTS = 200
MAX_COLUMN_DEPTH = 5
MAX_HEADER_TAGS = 3
MAX_DEPTH = 64  # ours: five column sets need about 30 levels, Python's own limit lies near 1000

URL_KEYS = frozenset({"url", "default_url", "pc_url", "ios_url", "android_url", "href"})
MARKDOWN_TAGS = frozenset({"markdown", "lark_md"})
BLOCKED_PLATFORM_URL = "lark://msgcard/unsupported_action"


def _words(names: str) -> frozenset[str]:
    return frozenset(names.split())


HEADER_COLOURS = _words(
    "blue wathet turquoise green yellow orange red carmine violet purple indigo grey default"
)
TAG_COLOURS = _words(
    "neutral blue turquoise lime orange violet indigo wathet green yellow red purple carmine"
)
BUTTON_TYPES = _words(
    "default primary danger text primary_text danger_text primary_filled danger_filled laser"
)

# The attributes of each component in 2.0, where an unknown one is an error.
_INPUT = "name required disabled disabled_tips width behaviors confirm value hover_tips type placeholder "
_BOX = (
    "direction padding horizontal_spacing horizontal_align vertical_spacing vertical_align background_style "
)
ATTRIBUTES: Mapping[str, frozenset[str]] = {
    tag: _words(f"tag element_id margin {names}")
    for tag, names in {
        "div": "text icon fields width extra text_align text_size",
        "markdown": "content i18n_content text_size text_align text_color icon href width",
        "img": "img_key i18n_img_key alt title corner_radius scale_type size transparent preview mode "
        "custom_width compact_width",
        "img_combination": "combination_mode combination_transparent corner_radius img_list",
        "hr": "",
        "person": "user_id size show_avatar show_name style",
        "person_list": "persons size lines show_avatar show_name drop_invalid_user_id icon ud_icon",
        "chart": "chart_spec aspect_ratio color_theme preview height",
        "table": "columns rows page_size row_height row_max_height header_style freeze_first_column",
        "audio": "file_key audio_id fill style time show_time title width",
        "button": _INPUT + "text size icon url multi_url form_action_type action_type complex_interaction",
        "input": _INPUT + "default_value max_length input_type rows auto_resize max_rows show_icon label "
        "label_position",
        "overflow": _INPUT + "options",
        "select_static": _INPUT + "options initial_option initial_index",
        "multi_select_static": _INPUT + "options selected_values",
        "select_person": _INPUT + "options initial_user initial_option",
        "multi_select_person": _INPUT + "options selected_values",
        "date_picker": _INPUT + "initial_date",
        "picker_time": _INPUT + "initial_time",
        "picker_datetime": _INPUT + "initial_datetime",
        "select_img": _INPUT + "options style multi_select layout can_preview aspect_ratio selected_values",
        "checker": _INPUT + "text checked overall_checkable button_area checked_style padding",
        "column_set": "columns flex_mode horizontal_spacing horizontal_align background_style action",
        "column": _BOX + "elements width weight action",
        "form": _BOX + "elements name confirm",
        "collapsible_panel": _BOX + "elements expanded header border background_color",
        "interactive_container": _BOX + "elements width height has_border border_color corner_radius "
        "behaviors disabled disabled_tips confirm hover_tips value name",
        "plain_text": "content i18n i18n_content text_size text_color text_align lines",
        "lark_md": "content i18n i18n_content text_size text_color text_align lines href",
        "text_tag": "text color",
        "standard_icon": "token color size",
        "custom_icon": "img_key size",
    }.items()
}
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "markdown": ("content",),
    "img": ("img_key", "alt"),
    "chart": ("chart_spec",),
    "table": ("columns", "rows"),
    "select_static": ("options",),
    "multi_select_static": ("options",),
    "overflow": ("options",),
    "column_set": ("columns",),
    "form": ("name", "elements"),
    "collapsible_panel": ("header", "elements"),
    "interactive_container": ("elements",),
    "note": ("elements",),
    "action": ("actions",),
}
ONLY_IN_1 = frozenset({"action", "note"})
REPLACEMENTS: Mapping[str, str | Promise] = {
    "action": gettext_lazy("put its buttons directly among the elements"),
    "note": gettext_lazy('use {"tag": "markdown", "text_size": "notation", "content": "..."}'),
    "textarea": gettext_lazy('use {"tag": "input", "input_type": "multiline_text"}'),
    "text": gettext_lazy('use {"tag": "div", "text": {"tag": "plain_text", "content": "..."}}'),
    "a": gettext_lazy("write [text](https://...) in a markdown element"),
    "at": gettext_lazy("write <at id=...></at> in a markdown element"),
}
TEXT_TAGS = frozenset({"plain_text", "lark_md", "markdown"})
NOT_ELEMENTS = frozenset({"plain_text", "lark_md", "text_tag", "standard_icon", "custom_icon", "column"})
NAMED_IN_FORMS = _words(
    "input select_static multi_select_static select_person multi_select_person date_picker picker_time "
    "picker_datetime select_img checker"
)
TEXT_KEYS = ("text", "title", "subtitle", "placeholder", "alt", "label", "hover_tips", "disabled_tips")
COLOUR_KEYS = ("color", "text_color", "background_style", "background_color", "border_color")
ROOT_KEYS = frozenset({"schema", "config", "card_link", "header", "i18n_header", "body"})
BODY_KEYS = _words(_BOX + "elements")
CONFIG_KEYS = _words(
    "update_multi width_mode enable_forward enable_forward_interaction summary locales style streaming_mode "
    "streaming_config use_custom_translation compact_width wide_screen_mode"
)
HEADER_KEYS = _words("title subtitle template text_tag_list i18n_text_tag_list icon ud_icon padding")
BEHAVIOR_KEYS = {
    "open_url": frozenset({"type", "default_url", "url", "pc_url", "ios_url", "android_url"}),
    "callback": frozenset({"type", "value"}),
    "form_action": frozenset({"type", "behavior", "value"}),
}
