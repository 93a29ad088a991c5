"""A tokenizer that spells every text, with chat templates as models of several families have them."""

from pathlib import Path

from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as RawTokenizer
from transformers import PreTrainedTokenizerFast

from rlnlp.models.chat import Chat
from rlnlp.models.tokenizer import Tokenizer
from support import small

SPECIAL = ("<pad>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
THINK = ("<think>", "</think>")  # tokens, but not special ones, as in models that think
CHATML = (  # each turn has its role, an end of its own, and is followed by a line's end that nobody draws
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
LLAMA = (  # the roles alternate, the first turn has the system's, nothing is said when a turn is asked for
    "{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}"
    "{{ bos_token }}{% for m in rest %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + (first if loop.first else '') + m['content'].strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (  # no system, the assistant has another name
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{{ '<|user|>' if m['role'] == 'user' else '<|assistant|>model' }}{{ '\n' + (m['content'] | trim) + '<|end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>model\n' }}{% endif %}"
)
QWEN = (  # what was thought is left out of earlier turns, and put into the last
    "{% for m in messages %}{% if m['role'] != 'assistant' %}"
    "{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% else %}"
    "{% set said = m['content'].split('</think>')[-1].lstrip('\n') %}{{ '<|assistant|>\n' }}"
    "{% if loop.last %}{% set thought = m['content'].split('</think>')[0].split('<think>')[-1].strip('\n')"
    " if '</think>' in m['content'] else '' %}{{ '<think>\n' + thought + '\n</think>\n\n' }}{% endif %}"
    "{{ said + '<|end|>\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
NO_ENDS = (  # no token parts the turns
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)
SILENT = (  # has no room for the system, and says nothing
    "{% for m in messages if m['role'] != 'system' %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def spelling(template: str | None = CHATML) -> PreTrainedTokenizerFast:
    """A tokenizer of bytes, some of them joined, in which every text can be written and read back."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    joined = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("Ċ", "Ċ"), ("Ġ", "Ġ"), ("<", "/")]
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *letters, *(a + b for a, b in joined)])}
    raw = RawTokenizer(models.BPE(vocabulary, joined))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in SPECIAL])
    raw.add_tokens([AddedToken(word, special=False, normalized=False) for word in THINK])
    made = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
    made.chat_template = template
    return made


def chat(template: str | None = CHATML, **settings) -> Chat:
    """Conversations as ``template`` has them."""
    return Chat(Tokenizer(spelling(template), (2,), 0, (1,)), template, settings.pop("args", {}), **settings)


def save_model(folder: Path, template: str | None = CHATML) -> Path:
    """A small model with such a tokenizer on disk."""
    words = spelling(template)
    small.lm(len(words), context=256).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def turns(*contents: str, system: str | None = None) -> list[dict[str, str]]:
    """A conversation of the user's and the assistant's turns by turns."""
    begun = [] if system is None else [{"role": "system", "content": system}]
    return begun + [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]
