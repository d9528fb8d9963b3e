// A stand-in for Ottu's checkout script: the same surface (Checkout.init, reload, showPopup, and the callbacks that its own
// tag names), played by the sandbox. Cards end as their last digits say; nothing is charged.
"use strict";
(() => {
  const tag = document.currentScript;
  const home = new URL(tag.src).origin;
  const named = (what) => window[tag.getAttribute("data-" + what)];
  const words = {
    en: {
      title: "Sandbox checkout: no card is charged", number: "Card number", hint: "Any 12 to 19 digits. Ends in 0002: declined. Ends in 3155: 3-D Secure.",
      pay: "Pay", card: "Card", saved: "Saved card ending in 4242", redirect: "Go to the bank's page", googlePay: "Google Pay", stcPay: "stc pay", urPay: "urpay",
      cancel: "Cancel", expire: "Let the session expire", knet: "KNET, refused", form: "Check the card number.", declined: "The card was declined.",
      bank: "Your bank asks: is it you?", yes: "Yes, it is me", no: "No", canceled: "The payment was canceled.", close: "Close",
    },
    ar: {
      title: "دفع تجريبي: لا تُخصم أي بطاقة", number: "رقم البطاقة", hint: "من ١٢ إلى ١٩ رقماً. ينتهي بـ 0002: مرفوضة. ينتهي بـ 3155: تحقق ثلاثي الأبعاد.",
      pay: "ادفع", card: "بطاقة", saved: "بطاقة محفوظة تنتهي بـ 4242", redirect: "الانتقال إلى صفحة المصرف", googlePay: "Google Pay", stcPay: "stc pay", urPay: "urpay",
      cancel: "إلغاء", expire: "إنهاء صلاحية الجلسة", knet: "كي نت، مرفوضة", form: "تحقق من رقم البطاقة.", declined: "رُفضت البطاقة.",
      bank: "يسأل مصرفك: هل هذا أنت؟", yes: "نعم، هذا أنا", no: "لا", canceled: "أُلغيت عملية الدفع.", close: "إغلاق",
    },
  };
  let options, box, host, w, setup;

  const el = (name, attributes, ...children) => {
    const e = Object.assign(document.createElement(name), attributes);
    e.append(...children);
    return e;
  };
  const call = async (method, body) => {
    const answer = await fetch(`${home}/b/checkout/api/sdk/v1/pymt-txn/submit/${options.session_id}/`, {
      method, headers: { Authorization: "Api-Key " + options.apiKey, "Content-Type": "application/json" }, body: body && JSON.stringify(body),
    });
    const data = await answer.json();
    if (!answer.ok) throw new Error(data.detail);
    return data;
  };
  const tell = (what, status, form, more) => {
    const heard = named(what);
    if (heard) heard({ status, form_of_payment: form, session_id: options.session_id, challenge_occurred: false, message: "", ...more });
  };

  // attempt ends one try at paying as the gateway would, after the page had its last word.
  const attempt = async (form, outcome, more) => {
    try {
      const before = named("beforepayment");
      if (before) await before({ form_of_payment: form });
    } catch {
      return;
    }
    try {
      const done = await call("POST", { outcome });
      if (outcome === "paid") tell("success", "success", form, { ...done, ...more });
      else tell("cancel", "canceled", form, { ...done, message: w.declined, ...more });
    } catch (e) {
      tell("error", "error", form, { message: e.message });
    }
  };
  const challenge = () => {
    const answer = (outcome) => {
      draw();
      attempt("card_onsite", outcome, { challenge_occurred: true });
    };
    host.replaceChildren(style(), el("div", { id: "bank", className: "sheet" }, el("p", {}, w.bank),
      el("button", { type: "button", id: "bank-yes", className: "main", onclick: () => answer("paid") }, w.yes),
      el("button", { type: "button", id: "bank-no", onclick: () => answer("failed") }, w.no)));
    document.getElementById("bank-yes").focus();
  };
  const card = () => {
    const number = el("input", { id: "number", inputMode: "numeric", autocomplete: "off", dir: "ltr", required: true });
    number.setAttribute("aria-describedby", "hint form-error");
    const wrong = el("p", { id: "form-error", className: "wrong" });
    wrong.setAttribute("role", "alert");
    const form = el("form", { noValidate: true, className: "sheet" }, el("label", { htmlFor: "number" }, w.number), number,
      el("p", { id: "hint", className: "hint" }, w.hint), wrong,
      el("button", { id: "pay-card", className: "main" }, `${w.pay} ${setup.currency_code} ${setup.amount}`));
    form.addEventListener("submit", (e) => {
      e.preventDefault();
      const digits = number.value.replace(/\D/g, "");
      wrong.textContent = digits.length < 12 || digits.length > 19 ? w.form : "";
      if (wrong.textContent) tell("error", "error", "card_onsite", { message: w.form });
      else if (digits.endsWith("3155")) challenge();
      else attempt("card_onsite", digits.endsWith("0002") ? "failed" : "paid");
    });
    return form;
  };
  const style = () => el("style", {}, `.ottu__sdk-main {
    * { box-sizing: border-box; font: inherit; }
    .title, .hint { margin: 0 0 .5rem; font-size: .85rem; opacity: .8; } .wrong:empty { display: none; } .wrong { margin: 0; color: #b3261e; }
    .sheet { border: 1px solid #8a96a3; border-radius: 10px; padding: 1rem; display: grid; gap: .5rem; margin: 0 0 .75rem; } .sheet p, .sheet label { margin: 0; }
    input { width: 100%; padding: .6rem; border: 1px solid #8a96a3; border-radius: 8px; background: transparent; color: inherit; }
    button { width: 100%; min-height: 2.75rem; padding: .5rem; border: 1px solid #8a96a3; border-radius: 8px; background: transparent; color: inherit; cursor: pointer; }
    button.main { background: #0b6b66; border-color: #0b6b66; color: #fff; font-weight: 600; }
    .others { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; } :focus-visible { outline: 3px solid #8a5a00; outline-offset: 2px; }
  }`);

  const draw = () => {
    const wants = (form) => options.formsOfPayment === undefined || options.formsOfPayment.includes(form);
    const others = el("div", { className: "others" });
    const add = (id, text, onclick) => others.append(el("button", { type: "button", id, onclick }, text));
    if (wants("applePay") && window.ApplePaySession) add("applePay", "Apple Pay", () => attempt("apple_pay", "paid"));
    if (wants("tokenPay") && setup.saved_cards) add("tokenPay", w.saved, () => attempt("token_pay", "paid"));
    for (const [form, name] of [["googlePay", "google_pay"], ["stcPay", "stc_pay"], ["urPay", "urpay"]]) {
      if (wants(form)) add(form, w[form], () => attempt(name, "paid"));
    }
    if (wants("redirect")) {
      add("redirect", w.redirect, async () => {
        try {
          const before = named("beforepayment");
          if (before) await before({ form_of_payment: "redirect", redirectUrl: setup.checkout_url });
          location.assign(setup.checkout_url);
        } catch {
          // The page has said that this is not to be paid.
        }
      });
    }
    const refusal = { pg_code: "knet", pg_name: "kpay", pg_response: { result: "NOT CAPTURED", ref: "123456" } };
    add("knet", w.knet, () => attempt("redirect", "failed", { payment_gateway_info: refusal }));
    add("cancel", w.cancel, () => attempt("card_onsite", "canceled", { message: w.canceled }));
    add("expire", w.expire, () => attempt("card_onsite", "expired"));
    const title = el("p", { className: "title" }, w.title);
    host.replaceChildren(style(), title, ...(wants("ottuPG") ? [card()] : []), others);
    box.dataset.ready = "yes";
  };
  const load = async () => {
    delete box.dataset.ready;
    try {
      setup = await call("GET");
      draw();
    } catch (e) {
      tell("error", "error", "", { message: e.message });
    }
  };

  window.Checkout = {
    init(o) {
      options = o;
      w = words[o.lang] || words.en;
      if (o.merchant_id !== new URL(home).host) throw new Error("merchant_id is not this sandbox's host");
      box = document.getElementById(o.selector);
      host = el("div", { className: "ottu__sdk-main", dir: o.lang === "ar" ? "rtl" : "ltr" });
      box.replaceChildren(host);
      load();
    },
    reload: () => load(),
    showPopup(type, message, response) {
      const popup = el("dialog", { id: "ottu-popup" }, el("p", {}, message),
        ...Object.entries(response || {}).map(([k, v]) => el("p", {}, `${k}: ${v}`)));
      popup.append(el("button", { type: "button", onclick: () => popup.remove() }, w.close));
      document.body.append(popup);
      popup.showModal();
    },
  };
})();
