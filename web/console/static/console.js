// What the console does more where scripts run. Every page works without.
(() => {
  "use strict";
  document.documentElement.classList.add("scripted");

  // Progress of a batch, as pieces of the page.
  const live = document.querySelector("[data-live]");
  if (live && window.EventSource) {
    const from = new EventSource(live.dataset.live);
    from.addEventListener("till", (e) => { live.innerHTML = JSON.parse(e.data); });
    // Another state has other buttons and words.
    from.addEventListener("state", () => { from.close(); location.reload(); });
    addEventListener("pagehide", () => from.close());
    document.querySelector(".refresh")?.remove();
  }

  // Dropping a file, and how much of it is up.
  const form = document.querySelector("[data-upload]");
  if (form) {
    const drop = form.querySelector(".drop"), file = form.querySelector("input[type=file]"), bar = form.querySelector("progress");
    const over = (on) => (e) => { e.preventDefault(); drop.classList.toggle("over", on); };
    for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, over(true));
    for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, over(false));
    drop.addEventListener("drop", (e) => {
      if (e.dataTransfer.files.length) { file.files = e.dataTransfer.files; file.dispatchEvent(new Event("change")); }
    });
    file.addEventListener("change", () => {
      drop.querySelector("b").textContent = file.files.length ? file.files[0].name : "Choose a payer file";
      drop.classList.toggle("chosen", file.files.length > 0);
    });
    form.addEventListener("submit", (e) => {
      if (!file.files.length || file.files[0].size < 1 << 20) return; // a small file is up before a bar is seen
      e.preventDefault();
      const call = new XMLHttpRequest();
      call.open("POST", form.action);
      call.upload.addEventListener("progress", (p) => { if (p.lengthComputable) bar.value = 100 * p.loaded / p.total; });
      call.addEventListener("load", () => {
        if (call.status === 200 && call.responseURL !== form.action) { location.assign(call.responseURL); return; }
        document.open(); document.write(call.responseText); document.close();
      });
      call.addEventListener("error", () => { bar.hidden = true; button.disabled = false; alert("The upload broke off. Try again."); });
      const button = form.querySelector("button");
      button.disabled = true; bar.hidden = false;
      call.send(new FormData(form));
    });
  }

  // A link that is copied by one press.
  for (const field of document.querySelectorAll("[data-copy]")) {
    field.addEventListener("focus", () => field.select());
    if (!navigator.clipboard) continue;
    const button = document.createElement("button");
    button.type = "button"; button.className = "second"; button.textContent = "Copy";
    button.addEventListener("click", async () => { await navigator.clipboard.writeText(field.value); button.textContent = "Copied"; });
    field.closest("label").after(button);
  }

  // A form is sent once.
  document.addEventListener("submit", (e) => {
    if (e.defaultPrevented || e.target.method !== "post") return;
    const button = e.submitter;
    if (button) setTimeout(() => { button.disabled = true; });
  });
  addEventListener("pageshow", (e) => { if (e.persisted) for (const b of document.querySelectorAll("button:disabled")) b.disabled = false; });
})();
