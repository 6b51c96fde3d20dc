// The dashboard in headless Chromium, used as a person uses it: by sight, by keyboard, on a phone, in the dark.
//
//     npm ci --ignore-scripts --prefix tests/dashboard
//     DASHBOARD_URL=http://127.0.0.1:PORT DASHBOARD_EXPECTATIONS='{"requests": 12}' node tests/dashboard/dashboard.mjs
//
// DASHBOARD_EXPECTATIONS says what the server was sent before; every field but `requests` may be left out:
//     requests       at least so many were decided, two or more
//     tiers          names of the tiers
//     hostile_label  a task or cohort that would be markup
//     key            the server's key
//     prompt         one whose tier is another at a floor of 0 than at 1
// DASHBOARD_SCREENSHOTS names a folder for pictures, CHROMIUM the browser. One line is printed per check; the first
// that fails ends the run with its traceback.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

const URL = process.env.DASHBOARD_URL?.replace(/\/+$/, "");
assert(URL, "DASHBOARD_URL is not set: give the server's base URL");
const EXPECTED = { tiers: [], prompt: "What is the derivative of x sin x?", ...JSON.parse(process.env.DASHBOARD_EXPECTATIONS ?? "{}") };
assert(EXPECTED.requests >= 2, "DASHBOARD_EXPECTATIONS: `requests` is missing, or less than 2");
const SCREENSHOTS = process.env.DASHBOARD_SCREENSHOTS;
const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
const DESKTOP = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };
// Shared machines are slow; nothing waits as long where things work.
const PATIENCE_MS = 60_000;
const TWO_POLLS_MS = 5_000;

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS, timeout: PATIENCE_MS });

// Opens the page, with everything that goes wrong in it written down.
async function opened({ viewport = DESKTOP, colorScheme = "light", hash = "" } = {}) {
  const context = await browser.newContext({ viewport, colorScheme });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  const wrong = [];
  page.on("console", (message) => message.type() === "error" && wrong.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => wrong.push(`script: ${error.stack}`));
  page.on("request", (request) => isOurs(request.url()) || wrong.push(`request to elsewhere: ${request.url()}`));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
  });
  await page.goto(`${URL}/${hash}`);
  if (EXPECTED.key) await giveKey(page, wrong);
  await page.locator("#now .figure").first().waitFor();
  await page.locator("#decision-list [role=option]").first().waitFor();
  return { page, wrong };
}

function isOurs(address) {
  return address.startsWith(`${URL}/`) || address.startsWith("data:");
}

async function giveKey(page, wrong) {
  await page.getByLabel("Key of this server").fill(EXPECTED.key);
  await page.keyboard.press("Enter");
  await page.locator("#key-form").waitFor({ state: "hidden" });
  // The browser says of every 401 that it is one.
  const others = wrong.filter((what) => !what.includes("401"));
  wrong.splice(0, wrong.length, ...others);
}

async function shoot(page, name) {
  if (!SCREENSHOTS) return;
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true, timeout: 4 * PATIENCE_MS });
}

const focused = (page, what) => page.evaluate((what) => document.activeElement.matches(what), what);

// Presses Tab until it reaches what matches.
async function tabTo(page, what) {
  for (let presses = 0; presses < 150; presses += 1) {
    await page.keyboard.press("Tab");
    if (await focused(page, what)) return;
  }
  assert.fail(`150 presses of Tab do not reach ${what}`);
}

const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);

// The tier that the playground says, once it has asked with the slider where it is now.
async function verdictAfter(page, act) {
  const answer = page.waitForResponse((reply) => reply.url().endsWith("/v1/route"));
  await act();
  const { decision } = await (await answer).json();
  const tier = page.locator("#verdict strong", { hasText: decision.tier });
  await tier.waitFor();
  return decision.tier;
}

const checks = {
  async figuresOfWhatWasSent() {
    const { page, wrong } = await opened();
    const requests = await page.locator('#now .answer:has(h3:text-is("Requests")) .figure').textContent();
    assert(Number(requests.replaceAll(",", "")) >= EXPECTED.requests, `${requests} requests are shown, ${EXPECTED.requests} were sent`);
    for (const head of ["Spent", "Saved", "Quality", "Escalated", "Drift"]) {
      assert.equal(await page.locator(`#now h3:text-is("${head}")`).count(), 1, `no figure of ${head}`);
    }
    const tiers = await page.locator("#tiers tbody").textContent();
    for (const tier of EXPECTED.tiers) assert(tiers.includes(tier), `tier ${tier} is not in the table of tiers`);
    for (const chart of ["traffic", "quality", "cost", "frontier"]) {
      const section = page.locator(`#${chart}`);
      assert(await section.locator("svg[role=img]").count() > 0, `nothing is drawn of ${chart}`);
      assert(await section.locator("details table").count() > 0, `no table stands beside the drawing of ${chart}`);
    }
    await shoot(page, "desktop-light");
    return { page, wrong };
  },

  async decisionByKeyboard() {
    const { page, wrong } = await opened();
    await tabTo(page, "#decision-list [role=option]");
    await page.keyboard.press("Home");
    const first = await page.evaluate(() => document.activeElement.id);
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    const second = await page.evaluate(() => [document.activeElement.id, document.activeElement.ariaSelected]);
    assert.notEqual(second[0], first, "ArrowDown stays where it was");
    assert.equal(second[1], "true", "the decision under the focus is not the chosen one");
    const id = second[0].replace(/^option-/, "");
    await page.locator("#decision-body code", { hasText: id }).waitFor();
    const drawn = page.locator("#decision-body .tier-list li");
    assert(await drawn.count() >= Math.max(2, EXPECTED.tiers.length), "a tier is missing from the decision");
    assert.equal(await drawn.locator("svg.pmf").count(), await drawn.count(), "a tier's distribution is not drawn");
    assert.equal(await page.locator("#decision-body .chosen").count(), 1);
    assert((await page.locator("#decision-why").textContent()).length > 10, "it is not said why");
    // The address names it, so it can be sent to somebody.
    const linked = await opened({ hash: new globalThis.URL(page.url()).hash });
    await linked.page.locator("#decision-body code", { hasText: id }).waitFor();
    await linked.page.context().close();
    return { page, wrong: [...wrong, ...linked.wrong] };
  },

  async refreshKeepsTheReadersPlace() {
    const { page, wrong } = await opened();
    const summary = page.locator("#cost summary").first();
    await summary.focus();
    await page.keyboard.press("Enter");
    await page.waitForTimeout(TWO_POLLS_MS);
    assert(await focused(page, "#cost summary"), "a refresh took the focus");
    assert(await page.locator("#cost details").first().evaluate((details) => details.open), "a refresh closed a table");
    await page.locator("#cost input[value=by_task]").check();
    await page.waitForTimeout(TWO_POLLS_MS);
    assert(await page.locator("#cost input[value=by_task]").isChecked(), "a refresh changed a choice");
    return { page, wrong };
  },

  async playgroundByKeyboard() {
    const { page, wrong } = await opened();
    await tabTo(page, "#prompt");
    await verdictAfter(page, () => page.keyboard.insertText(EXPECTED.prompt));
    await tabTo(page, "#target");
    const cheap = await verdictAfter(page, () => page.keyboard.press("Home"));
    assert.equal(await page.locator("#target-value").textContent(), "0.00");
    const best = await verdictAfter(page, () => page.keyboard.press("End"));
    assert.notEqual(best, cheap, `the tier is ${cheap} at a floor of 0 and of 1`);
    assert.match(await page.locator("#verdict").textContent(), new RegExp(`Before, at 0.00, it was`));
    await verdictAfter(page, () => page.keyboard.press("ArrowLeft"));
    assert.equal(await page.locator("#target-value").textContent(), "0.99");
    assert(await focused(page, "#target"), "the slider lost the focus");
    assert.equal(await page.locator("#verdict").getAttribute("aria-live"), "polite");
    const drawn = page.locator("#verdict-body .tier-list li");
    assert.equal(await drawn.locator("svg.pmf").count(), await drawn.count());
    await tabTo(page, "#confidence");
    await verdictAfter(page, () => page.keyboard.insertText("0.5"));
    await shoot(page, "desktop-playground");
    return { page, wrong };
  },

  async phone() {
    const { page, wrong } = await opened({ viewport: PHONE });
    assert(await overflow(page) <= 0, `the page is ${await overflow(page)} pixels wider than a phone`);
    await shoot(page, "phone-light");
    await verdictAfter(page, () => page.locator("#prompt").fill(EXPECTED.prompt));
    await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
    assert(await overflow(page) <= 0, `with its tables open the page is ${await overflow(page)} pixels wider than a phone`);
    return { page, wrong };
  },

  async dark() {
    const { page, wrong } = await opened({ colorScheme: "dark" });
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const dark = await background();
    await shoot(page, "desktop-dark");
    await page.emulateMedia({ colorScheme: "light" });
    assert.notEqual(await background(), dark, "dark mode has the background of the light one");
    return { page, wrong };
  },

  async labelsAreText() {
    const { page, wrong } = await opened();
    if (EXPECTED.hostile_label) {
      const shown = async () => (await page.locator("main").evaluate((main) => main.textContent)).includes(EXPECTED.hostile_label);
      const groups = ["by_task", "by_cohort"];
      const seen = [];
      for (const group of groups) {
        await page.locator(`#cost input[value=${group}]`).check();
        seen.push(await shown());
      }
      assert(seen.some(Boolean), `the label ${EXPECTED.hostile_label} is nowhere shown as text`);
    }
    assert.equal(await page.locator("main img, main iframe, main script").count(), 0, "a label became markup");
    return { page, wrong };
  },

  async serverAway() {
    const { page, wrong } = await opened();
    const figure = await page.locator("#now .figure").first().textContent();
    await page.route("**/v1/*", (route) => route.abort());
    await page.locator("#trouble", { hasText: "does not answer" }).waitFor();
    assert.equal(await page.locator("#now .figure").first().textContent(), figure, "the last figures are gone");
    await page.locator("#state", { hasText: "ago" }).waitFor();
    await page.unroute("**/v1/*");
    await page.locator("#trouble", { hasText: "does not answer" }).waitFor({ state: "detached" });
    // The browser says of every request that fails that it did.
    return { page, wrong: wrong.filter((what) => !what.includes("net::ERR_FAILED")) };
  },
};

for (const [name, check] of Object.entries(checks)) {
  const { page, wrong } = await check();
  assert.deepEqual(wrong, [], `${name}: something went wrong in the page`);
  await page.context().close();
  console.log(`ok ${name}`);
}
await browser.close();
