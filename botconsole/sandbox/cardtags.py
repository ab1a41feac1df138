"""Which tags and attributes a card of JSON 2.0 may have, and which tags one of 1.0; data only."""

from types import MappingProxyType


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BOX = "direction padding horizontal_spacing horizontal_align vertical_spacing vertical_align"
_INPUT = "name required disabled placeholder width behaviors confirm disabled_tips hover_tips"
ROOT = _words("schema config card_link header body")
CONFIG = _words(
    "update_multi enable_forward enable_forward_interaction width_mode use_custom_translation locales "
    "summary style streaming_mode streaming_config"
)
HEADER = _words("title subtitle template icon text_tag_list padding")
BODY = _words(f"elements {_BOX}")
TEMPLATES = _words("blue wathet turquoise green yellow orange red carmine violet purple indigo grey default")
EVERYWHERE = _words("tag element_id margin")
TEXTS = MappingProxyType(
    {
        tag: _words("content i18n_content i18n text_size text_align text_color lines icon")
        for tag in ("plain_text", "lark_md")
    }
)
COMPONENTS = MappingProxyType(
    {
        "markdown": _words("content i18n_content text_size text_align icon"),
        "div": _words("text icon width fields"),
        "img": _words("img_key alt title corner_radius scale_type size transparent preview i18n_img_key"),
        "img_combination": _words("combination_mode combination_transparent corner_radius img_list"),
        "hr": _words(""),
        "person": _words("user_id size show_avatar show_name style"),
        "person_list": _words("persons lines show_avatar show_name size drop_invalid_user_id icon ud_icon"),
        "chart": _words("chart_spec aspect_ratio color_theme preview height"),
        "table": _words("columns rows page_size row_height row_max_height header_style freeze_first_column"),
        "audio": _words("file_key audio_id show_time fallback style width"),
        "column_set": _words("columns flex_mode background_style horizontal_spacing horizontal_align action"),
        "column": _words(f"elements width weight background_style action {_BOX}"),
        "form": _words(f"name elements confirm {_BOX}"),
        "interactive_container": _words(
            "elements width height background_style has_border border_color corner_radius behaviors "
            f"hover_tips disabled disabled_tips confirm {_BOX}"
        ),
        "collapsible_panel": _words(f"elements expanded header background_color border {_BOX}"),
        "button": _words("text type size icon form_action_type " + _INPUT),
        "input": _words(
            "input_type label label_position default_value max_length rows auto_resize max_rows show_icon "
            + "value "
            + _INPUT
        ),
        "overflow": _words("options value " + _INPUT),
        "select_static": _words("type options initial_option initial_index value " + _INPUT),
        "multi_select_static": _words("type options selected_values value " + _INPUT),
        "select_person": _words("type options initial_option initial_user value " + _INPUT),
        "multi_select_person": _words("type options selected_values value " + _INPUT),
        "date_picker": _words("initial_date value " + _INPUT),
        "picker_time": _words("initial_time value " + _INPUT),
        "picker_datetime": _words("initial_datetime value " + _INPUT),
        "select_img": _words(
            "options multi_select layout can_preview aspect_ratio style value selected_values initial_option "
            + _INPUT
        ),
        "checker": _words("text checked overall_checkable button_area checked_style padding value " + _INPUT),
    }
)
PARTS = MappingProxyType(
    {
        "standard_icon": _words("token color size"),
        "custom_icon": _words("img_key size"),
        "text_tag": _words("text color"),
        **TEXTS,
    }
)
FIELDS = _words(
    "input select_static multi_select_static select_person multi_select_person date_picker picker_time "
    "picker_datetime select_img checker"
)
ALWAYS_FIELDS = FIELDS - {"checker"}
FIRST_SCHEMA = _words(
    "div markdown lark_md plain_text hr img note action column_set column form button overflow select_static "
    "multi_select_static select_person multi_select_person date_picker picker_date picker_time "
    "picker_datetime input text_tag standard_icon custom_icon person person_list table chart "
    "collapsible_panel interactive_container img_combination checker select_img audio at a text md repeat"
)
