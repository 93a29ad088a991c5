"""The settings of conversations: how a model is shown them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rlnlp.config.setting import Problem, setting

AUTO, NONE = "auto", "none"  # values of data.template that are no files
TAKEN = (  # what a template is given that is no argument of its own
    "conversation", "messages", "chat_template", "add_generation_prompt", "continue_final_message", "tokenize",
    "padding", "truncation", "max_length", "return_tensors", "return_dict", "return_assistant_tokens_mask",
    "tokenizer_kwargs", "sanitize_control_tokens", "tools", "documents",
)  # fmt: skip


@dataclass(frozen=True)
class Conversations:
    """How a model is shown conversations; texts are shown as they are."""

    template: str = setting(
        "the chat template: auto (the model's own), none (as people read them), or a file of Jinja",
        by_content=True, trl="chat_template_path",
    )  # fmt: skip
    system: str | None = setting(
        "the system's turn of conversations that have none; plain prompts become the user's turn behind it ('' for"
        " that alone)"
    )
    template_args: dict[str, Any] = setting(
        "what the template is given by name: data.template_args={enable_thinking: false}",
        trl="chat_template_kwargs", verl="data.apply_chat_template_kwargs",
    )  # fmt: skip

    def problems(self) -> Iterator[Problem]:
        """Arguments that every template is given."""
        for name in self.template_args:
            if name in TAKEN:
                yield f"template_args.{name}", "is not for settings: rlnlp gives it to the template"
