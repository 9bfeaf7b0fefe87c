"""Chat templates render as in transformers, and the user's words are found in what they render."""

import json

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from backends.errors import PreparationFailed, PromptRefused
from comparison.chat_template import ChatTemplate
from tests.comparison.toy_tokenizers import PHI

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{{ '<start_of_turn>' + message['role'] + '\n' + message['content'] | trim + "
    "'<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' %}"
    "{% else %}{% set loop_messages = messages %}{% set system = '' %}{% endif %}"
    "{% for message in loop_messages %}{% if loop.index0 == 0 %}{% set content = system + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% endfor %}"
)
BLOCKS = """
{%- if messages[0].role == 'system' %}
    {%- set first = messages[0].content %}
{%- endif %}
{% for message in messages if message.role != 'system' %}
    {% generation %}{{ message.role | upper }}: {{ message.content }}{% endgeneration %}
    {% if not loop.last %}{% continue %}{% endif %}
{% endfor %}
{{ first or 'none' }} {{ messages | tojson(indent=2) }} {{ tools is none }} {{ pad_token }}
"""
TEMPLATES = {"phi": PHI, "gemma": GEMMA, "llama 2": LLAMA_2, "blocks": BLOCKS}
PROMPTS = ["Hello", "  two\nlines \t", 'quotes " and <b> & ünïcode 👋', "{{ 7 * 7 }} {% raw %}"]


def rendered_by_transformers(template: str, messages: list[dict[str, str]]) -> str:
    texts, _ = render_jinja_template([messages], chat_template=template, add_generation_prompt=True, **TOKENS)
    return str(texts[0])


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_prompt_renders_as_in_transformers(name: str, prompt: str) -> None:
    expected = rendered_by_transformers(TEMPLATES[name], [{"role": "user", "content": prompt}])
    assert ChatTemplate(TEMPLATES[name], TOKENS).render(prompt).text == expected


@pytest.mark.parametrize("name", ["phi", "llama 2", "blocks"])
def test_a_system_prompt_renders_as_in_transformers(name: str) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    rendered = ChatTemplate(TEMPLATES[name], TOKENS).render("Hello", "Be brief.")
    assert rendered.text == rendered_by_transformers(TEMPLATES[name], messages)
    assert not rendered.system_merged


@pytest.mark.parametrize("name", ["phi", "gemma", "llama 2"])
def test_the_users_words_are_located(name: str) -> None:
    rendered = ChatTemplate(TEMPLATES[name], TOKENS).render("  What is an NPU?\n")
    assert rendered.typed is not None
    assert [rendered.text[slice(*span)] for span in rendered.typed] == ["What is an NPU?"]


def test_the_words_are_located_after_a_change_of_case_and_in_json() -> None:
    rendered = ChatTemplate("{{ messages[0].content | upper }} {{ messages | tojson }}", {}).render('say "hi"')
    assert rendered.typed is not None
    assert [rendered.text[slice(*span)] for span in rendered.typed] == ['SAY "HI"', json.dumps('say "hi"')[1:-1]]


def test_a_template_that_rewrites_the_words_is_noticed() -> None:
    rendered = ChatTemplate("{{ messages[0].content | reverse }}", {}).render("abc")
    assert rendered.text == "cba"
    assert rendered.typed is None


def test_where_the_system_role_is_refused_the_system_prompt_stands_before_the_prompt() -> None:
    rendered = ChatTemplate(GEMMA, TOKENS).render("Hello", "Be brief.")
    assert rendered.system_merged
    assert rendered.text == "<s><start_of_turn>user\nBe brief.\n\nHello<end_of_turn>\n<start_of_turn>model\n"


def test_where_the_system_role_is_ignored_the_system_prompt_stands_before_the_prompt() -> None:
    only_users = "{% for m in messages if m.role == 'user' %}[{{ m.content }}]{% endfor %}"
    rendered = ChatTemplate(only_users, {}).render("Hello", "Be brief.")
    assert rendered.system_merged
    assert rendered.text == "[Be brief.\n\nHello]"


def test_a_blank_system_prompt_is_none() -> None:
    assert ChatTemplate(PHI, TOKENS).render("Hello", " \n").text == "<|user|>\nHello<|end|>\n<|assistant|>\n"


def test_the_date_of_today_is_available() -> None:
    assert len(ChatTemplate("{{ strftime_now('%Y-%m-%d') }}", {}).render("x").text) == 10


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('Only in French, please.') }}", "Only in French, please."),
        ("{{ messages[0].content + 1 }}", "TypeError"),
        ("{{ messages[5].content.x.y }}", "no element 5"),
        ("{{ messages[0].__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{% set _ = messages.append(1) %}", "append"),
    ],
)
def test_a_template_that_fails_refuses_the_prompt_in_one_sentence(template: str, reason: str) -> None:
    with pytest.raises(PromptRefused, match=reason) as refusal:
        ChatTemplate(template, {}).render("Hello")
    assert "\n" not in str(refusal.value)


def test_a_broken_template_is_found_when_it_is_read() -> None:
    with pytest.raises(PreparationFailed, match="chat template is broken in line 2"):
        ChatTemplate("{{ bos_token }}\n{% for %}", {})
