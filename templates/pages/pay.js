// The payer's page's own script. The page works without it: what it adds is that somebody's look is told of, and, where the
// provider's checkout stands in the page, what is done about its callbacks.
"use strict";
(() => {
  const seen = document.body.dataset.seen;
  if (seen) {
    const look = () => {
      if (document.visibilityState !== "visible") return;
      document.removeEventListener("visibilitychange", look);
      navigator.sendBeacon(seen);
    };
    document.addEventListener("visibilitychange", look);
    look();
  }

  const box = document.getElementById("checkout");
  if (!box) return;
  const note = document.getElementById("note");
  const again = document.getElementById("again");
  const say = (key) => {
    note.textContent = note.dataset[key];
  };

  // ask has the server decide what is next: stay, pay (by another session), result.
  const ask = async (path) => {
    const answer = await fetch(path, {
      method: "POST",
      headers: { Accept: "application/json" },
      body: new URLSearchParams({ session: box.dataset.session }),
    });
    return answer.ok ? (await answer.json()).next : "";
  };

  // Which callback fired says nothing; the status is a hint, and the server asks the provider.
  window.dunlinHeard = async (data) => {
    const status = data && data.status;
    const gateway = (data && data.payment_gateway_info) || {};
    const knet = status !== "success" && gateway.pg_name === "kpay";
    if (knet) window.Checkout.showPopup("error", (data.message || " "), gateway.pg_response); // KNET asks for it
    if (status === "success") {
      say("checking");
      await ask(box.dataset.check).catch(() => "");
      location.assign(box.dataset.result);
      return;
    }
    if (status === "canceled") {
      say("canceled");
      return;
    }
    say("again");
    const next = await ask(box.dataset.check).catch(() => "stay");
    if (next === "result") {
      location.assign(box.dataset.result);
    } else if (next === "stay") {
      if (data && data.form_of_payment !== "card_onsite" && !knet) window.Checkout.reload(); // a form keeps what was typed
    } else if (knet) {
      again.hidden = false; // the popup must be seen first
    } else {
      again.submit();
    }
  };

  // The last moment before money moves: is this still the session to pay by?
  window.dunlinBefore = async () => {
    const next = await ask(box.dataset.pay).catch(() => "lost");
    if (next === "stay") return;
    if (next === "lost") say("again");
    else again.submit();
    throw new Error("not to be paid by this session");
  };

  let started = false;
  const start = () => {
    if (started || !window.Checkout) return;
    started = true;
    note.textContent = "";
    window.Checkout.init({
      selector: "checkout",
      merchant_id: box.dataset.merchant,
      apiKey: box.dataset.key,
      session_id: box.dataset.session,
      lang: document.documentElement.lang,
      formsOfPayment: box.dataset.forms.split(" "),
    });
  };
  document.addEventListener("DOMContentLoaded", () => {
    start();
    if (!started) say("absent");
  });
  setTimeout(() => {
    if (!started) say("absent");
  }, 8000);
  // Coming back from another page by the browser's button: the session may be another by now.
  window.addEventListener("pageshow", (e) => {
    if (e.persisted) location.reload();
  });
})();
