"""The report of an evaluation: figures, one page of HTML, and the same as Markdown."""

from rlnlp.evaluate.page.content import verdict_sentence
from rlnlp.evaluate.page.figures import draw_figures
from rlnlp.evaluate.page.html import report_html
from rlnlp.evaluate.page.markdown import report_markdown

__all__ = ["draw_figures", "report_html", "report_markdown", "verdict_sentence"]
