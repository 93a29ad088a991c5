"""The page's server: one page, and what it asks for. Everything but the page itself is POST, JSON, and needs proof."""

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rlnlp.errors import Failure, safe_text
from rlnlp.feedback.records import BETTER, RATED, SKIPPED, TIE, Annotator, Question, Stale, Verdict
from rlnlp.feedback.store import Store
from rlnlp.feedback.web.guard import (
    SECURITY,
    Refused,
    check_origin,
    check_proof,
    json_of,
    json_response,
    proof_of,
    sha256_of,
)

HERE = Path(__file__).resolve().parent
POLICY = (
    "default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SIDES = {"left": 0, "right": 1}
REQUEST = 100  # characters of the name of a request, at most
DAY = 24 * 3600.0
Action = Callable[[Annotator, Mapping[str, Any]], Any]


class Page:
    """What is asked of the page and answered, for the feedback set ``store``, at ``port``."""

    def __init__(self, store: Store, port: int, instructions: str) -> None:
        self.store, self.port, self.instructions = store, port, instructions
        self.cookie = f"rlnlp_feedback_{port}"  # cookies are those of all ports of a machine
        self._parts = {name: (HERE / f"page.{name}").read_text(encoding="utf-8") for name in ("html", "css", "js")}

    def app(self) -> Starlette:
        """The application."""
        return Starlette(
            routes=[
                Route("/", self._answer(self._page), methods=["GET"]),
                Route("/question", self._change(self._question), methods=["POST"]),
                Route("/judge", self._change(self._judge), methods=["POST"]),
                Route("/undo", self._change(self._undo), methods=["POST"]),
            ],
            exception_handlers={404: _plain, 405: _plain},
        )

    def _answer(self, handle: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                check_origin(request.headers, self.port)
                return await handle(request)
            except Refused as refused:
                return json_response({"error": str(refused)}, refused.status)
            except Failure as failure:
                return json_response({"error": safe_text(str(failure))}, 500)

        return answer

    def _change(self, act: Action) -> Callable[[Request], Awaitable[Response]]:
        async def change(request: Request) -> Response:
            token = request.cookies.get(self.cookie, "")
            check_proof(request.headers, token)
            annotator = await run_in_threadpool(self._annotator, token)
            said = await json_of(request)
            try:
                return json_response(await run_in_threadpool(act, annotator, said))
            except Stale:
                return json_response({"stale": True, **await run_in_threadpool(self._question, annotator, {})}, 409)
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise Refused(400, "not what the page sends") from error

        return self._answer(change)

    async def _page(self, request: Request) -> Response:
        given = request.query_params.get("token")
        token = request.cookies.get(self.cookie, "") if given is None else given
        annotator = await run_in_threadpool(self._annotator, token)
        nonce = secrets.token_urlsafe(16)
        filled = {
            "NONCE": nonce, "PROOF": proof_of(token), "NAME": escape(safe_text(annotator.name)),
            "INSTRUCTIONS": escape(safe_text(self.instructions)), "HIDDEN": "" if self.instructions else " hidden",
        }  # fmt: skip
        filled |= {"STYLE": self._parts["css"], "SCRIPT": self._parts["js"]}
        html = re.sub("@([A-Z]+)@", lambda found: filled[found[1]], self._parts["html"])
        response = Response(html, 200, {**SECURITY, "Content-Security-Policy": POLICY.format(nonce)}, "text/html")
        if given is not None:
            response.set_cookie(self.cookie, token, path="/", httponly=True, samesite="strict", max_age=30 * int(DAY))
        return response

    def _annotator(self, token: str) -> Annotator:
        annotator = self.store.linked(sha256_of(token)) if token else None
        if annotator is None:
            raise Refused(403, "open the link that rlnlp feedback has printed for you")
        return annotator

    def _question(self, annotator: Annotator, _: Mapping[str, Any]) -> dict[str, Any]:
        question = self.store.next(annotator)
        progress = self.store.progress(annotator)
        return {
            "question": None if question is None else _shown(question),
            "answered": progress.answered,
            "left": progress.left,
        }

    def _judge(self, annotator: Annotator, said: Mapping[str, Any]) -> dict[str, Any]:
        question = self.store.question(annotator, _whole(said["item"]))
        if question is None:
            raise ValueError("no such item")
        request = _name(said["request"])
        asked = Question(question.item, question.order, _whole(said["revision"]))
        seconds, confidence = said["seconds"], said.get("confidence")
        if not 0 <= float(seconds) <= DAY or list(asked.order) != said["order"]:
            raise ValueError("not as it was shown")
        verdict = _verdict(asked, said["answer"], None if confidence is None else float(confidence))
        self.store.judge(annotator, asked, verdict, float(seconds), request)
        return {"saved": True, **self._question(annotator, {})}

    def _undo(self, annotator: Annotator, said: Mapping[str, Any]) -> dict[str, Any]:
        undone = self.store.undo(annotator, _name(said["request"]))
        return {"undone": undone is not None, **self._question(annotator, {})}


def _shown(question: Question) -> dict[str, Any]:
    """A question as the page shows it: texts without control characters."""
    prompt = question.item.prompt
    turns = [{"role": "", "content": prompt or ""}] if not isinstance(prompt, list) else prompt
    return {
        "item": question.item.id,
        "revision": question.revision,
        "order": list(question.order),
        "prompt": [[safe_text(turn["role"]), safe_text(turn["content"])] for turn in turns],
        "responses": [safe_text(text) for text in question.shown],
    }


def _verdict(question: Question, answer: Any, confidence: float | None) -> Verdict:
    """What the page's answer means: a side, "tie", "skip", or a rating from 1 to 10."""
    if answer == "skip":
        return Verdict(SKIPPED, confidence=confidence)
    if answer == "tie":
        return Verdict(BETTER, TIE, confidence=confidence)
    if isinstance(answer, int):
        return Verdict(RATED, rating=answer, confidence=confidence)
    return Verdict(BETTER, float(question.order[SIDES[answer]]), confidence=confidence)


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError("not a whole number")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not 8 <= len(value) <= REQUEST or not value.isascii():
        raise ValueError("no name of a request")
    return value


async def _plain(request: Request, error: Exception) -> Response:
    return json_response({"error": "there is nothing here"}, 405 if "405" in str(error) else 404)
