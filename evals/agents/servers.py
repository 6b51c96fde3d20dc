"""`tiercast replay` and `tiercast serve` as child processes, and a task's way through them."""

import http.client
import json
import os
import signal
import subprocess
import time
from pathlib import Path

ADMIN_KEY = "an-admin-key-of-a-server-that-lives-for-one-evaluation"
# Store and settings are written down in US dollars; sums of floats may differ by this.
TOLERANCE_USD = 1e-9


class Server:
    def __init__(self, command):
        command = [*map(str, command), "--listen", "127.0.0.1:0"]
        env = {**os.environ, "TIERCAST_AGENTS_ADMIN": ADMIN_KEY}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, method, path, body=None, headers=None):
        """Status, headers and the JSON of the answer."""
        text = None if body is None else json.dumps(body)
        try:
            self.connection.request(method, path, text, {"content-type": "application/json", **(headers or {})})
            response = self.connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            # It was idle for too long and was closed before it was read.
            self.connection.close()
            self.connection.request(method, path, text, {"content-type": "application/json", **(headers or {})})
            response = self.connection.getresponse()
        return response.status, response.headers, json.loads(response.read())

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=90)


class Gateway(Server):
    """One `serve`, whose sessions have the budget that was last set."""

    def __init__(self, tiercast, checkpoint, folder, tiers, prices, replay_port):
        self.file, self.tiers = Path(folder) / "tiercast.toml", tiers
        self.head = 'allow_without_key = false\n[admin]\nenv = "TIERCAST_AGENTS_ADMIN"\n' + "".join(
            f'[tiers."{tier}"]\ninput_usd_per_mtok = {price[0]}\noutput_usd_per_mtok = {price[1]}\n'
            f'[tiers."{tier}".endpoint]\nbase_url = "http://127.0.0.1:{replay_port}/v1"\n'
            for tier, price in zip(tiers, prices)
        )
        self.write(1.0, "refuse")
        super().__init__([tiercast, "serve", "--checkpoint", checkpoint, "--config", self.file])

    def write(self, budget_usd, when_spent):
        limits = f'[budgets]\nstore = "memory"\n[[budgets.limits]]\nscope = "session"\nusd = {budget_usd:.12f}\n'
        beside = self.file.with_suffix(".new")
        beside.write_text(f'{self.head}{limits}when_spent = "{when_spent}"\n')
        beside.rename(self.file)

    def set_budget(self, budget_usd, when_spent):
        self.write(budget_usd, when_spent)
        status, _, answer = self.ask("POST", "/admin/config/reload", headers={"authorization": f"Bearer {ADMIN_KEY}"})
        assert status == 200, answer

    def purse(self, session):
        """What a session has spent, holds and has left, US dollars."""
        purse = self.ask("GET", f"/v1/sessions/{session}")[2]["budgets"][0]
        return purse["spent_usd"], purse["held_usd"], purse["left_usd"]


class Session:
    """One task under one policy: asks step by step and writes down who answered."""

    def __init__(self, gateway, name, budget_usd):
        self.gateway, self.name, self.budget_usd = gateway, name, budget_usd
        self.answered, self.spent_usd, self.n_refused = [], 0.0, 0
        spent, held, left = gateway.purse(name)
        assert spent == held == 0 and abs(left - budget_usd) < TOLERANCE_USD, (spent, held, left, budget_usd)

    def plan(self, budget_usd, **more):
        """Whether there is a plan: none where the cheapest tiers are expected to cost more than this budget."""
        body = {"budget_usd": budget_usd, **more}
        status, _, answer = self.gateway.ask("POST", "/v1/plans", body, {"x-session-id": self.name})
        assert status in (200, 422), answer
        assert status == 200 or "the cheapest tiers would cost" in answer["error"]["message"], answer
        return status == 200

    def step(self, prompt, models, **more):
        """Asks the first of `models` that the budget allows; a step that none of them may answer goes without.

        `more` are headers beside the session's: `step_id`, `max_cost_usd`, of the first model alone.
        """
        for place, model in enumerate(models):
            own = {f"x-tiercast-{name.replace('_', '-')}": value for name, value in more.items() if place == 0}
            headers = {"x-session-id": self.name, **own}
            body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
            status, said, answer = self.gateway.ask("POST", "/v1/chat/completions", body, headers)
            if status == 200:
                self.answered.append(self.gateway.tiers.index(said["x-tiercast-tier"]))
                self.settled()
                return
            assert answer["error"]["code"] == "budget_spent" or (own and answer["error"]["code"] == "no_tier_fits"), answer
            self.n_refused += 1
        self.answered.append(-1)

    def settled(self):
        """Waits until the call is booked, as it is while an agent reads the answer."""
        while True:
            spent, held, _ = self.gateway.purse(self.name)
            if held == 0 and spent > self.spent_usd:
                self.spent_usd = spent
                return
            time.sleep(0.0005)
