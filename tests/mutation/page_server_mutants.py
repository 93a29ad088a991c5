"""Mistakes in what the page of a feedback set lets in."""

REQUESTS = "feedback/web/test_requests"

GROUPS = [
    (
        "feedback/web/guard.py", (REQUESTS,),
        [
            ("any host", "if len(hosts) != 1 or hosts[0] not in", "if 0 and hosts[0] not in"),
            ("a host that begins like ours",
             'not in {f"{name}:{port}" for name in NAMES}', '[:9] not in {"127.0.0.1", "localhost"}'),
            ("any site", 'not in ("same-origin", "none")', 'not in ("same-origin", "none", "same-site", "cross-site")'),
            ("any origin", 'if headers.get("origin", f"http://{hosts[0]}") != f"http://{hosts[0]}":', "if False:"),
            ("any form", '!= "application/json"', "== 0"),
            ("no proof", 'if not hmac.compare_digest(headers.get(PROOF, ""), proof_of(token)):', "if False:"),
            ("the proof is the key", 'sha256(f"page:{token}".encode()).hexdigest()', 'sha256(b"").hexdigest() + token'),
            ("what is kept is the key", 'return hashlib.sha256(f"link:{token}".encode()).hexdigest()', "return token"),
            ("a body of any size, if it says nothing of it", "if len(body) > LARGEST_BODY:", "if False:"),
            ("markup in JSON", '(("<", "\\\\u003c"), ', "("),
        ],
    ),
    (
        "feedback/web/app.py", (REQUESTS,),
        [
            ("scripts can read the cookie", "httponly=True", "httponly=False"),
            ("other sites send the cookie", 'samesite="strict"', 'samesite="none"'),
            ("the same nonce for all", "nonce = secrets.token_urlsafe(16)", 'nonce = "a"'),
            ("changes by GET",
             'Route("/undo", self._change(self._undo), methods=["POST"])', 'Route("/undo", self._change(self._undo))'),
            ("the revision on the screen is not looked at",
             "_whole(said[\"revision\"]))", "question.revision)"),
            ("a rating of any kind", "if type(value) is not int or", "if"),
            ("the order on the screen is not looked at", 'or list(asked.order) != said["order"]', ""),
            ("a side is a response", "float(question.order[SIDES[answer]])", "float(SIDES[answer])"),
        ],
    ),
    (
        "feedback/web/server.py", (REQUESTS,),
        [
            ("it listens to the network", "listener.bind((HOST, each))", 'listener.bind(("0.0.0.0", each))'),
            ("it says what it is", "server_header=False", "server_header=True"),
        ],
    ),
]  # fmt: skip
