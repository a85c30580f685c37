"""A language model that is none: a server on loopback that speaks OpenAI's wire format and says what the test wants.

Each answer is a dictionary: `text`, or `tools` (a list of name and arguments); `usage` (what it claims, sent and answered),
`status` and `error`, `slow` (seconds before it answers), `cut` (the connection ends in the middle), `finish`. A function in
place of one is called with the request. The last answer is given again and again.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ModelServer:
    def __init__(self, *answers):
        self.answers = list(answers) or [{"text": "done"}]
        self.requests: list[dict] = []
        self.headers: list[dict] = []
        self.lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with server.lock:
                    server.requests.append(body)
                    server.headers.append({name.lower(): value for name, value in self.headers.items()})
                    answer = server.answers[min(len(server.requests), len(server.answers)) - 1]
                answer = answer(body) if callable(answer) else answer
                time.sleep(answer.get("slow", 0))
                self.reply(answer, body)

            def reply(self, answer, body):
                data = json.dumps(server.wire(answer, body)).encode()
                try:
                    self.send_response(answer.get("status", 200))
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data[: len(data) // 2] if answer.get("cut") else data)
                    if answer.get("cut"):
                        self.wfile.flush()
                        self.close_connection = True
                except OSError:
                    return

            def log_message(self, *arguments):
                return

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def wire(self, answer, body):
        if "error" in answer:
            return {"error": {"message": answer["error"], "type": "server_error"}}
        message = {"role": "assistant", "content": answer.get("text")}
        if "tools" in answer:
            message["tool_calls"] = [
                {
                    "id": f"call_{len(self.requests)}_{number}",
                    "type": "function",
                    "function": {"name": name, "arguments": json.dumps(given)},
                }
                for number, (name, given) in enumerate(answer["tools"])
            ]
        sent, answered = answer.get("usage", (len(json.dumps(body["messages"])) // 4, len(json.dumps(message)) // 4))
        finish = answer.get("finish", "tool_calls" if "tools" in answer else "stop")
        return {"id": "c", "object": "chat.completion", "created": 1, "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": finish}],
                "usage": {"prompt_tokens": sent, "completion_tokens": answered, "total_tokens": sent + answered}}  # fmt: skip

    def close(self):
        self.http.shutdown()
        self.http.server_close()
