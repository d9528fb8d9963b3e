package pay_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"dunlin/internal/testenv"
	"dunlin/sandbox"
	"dunlin/web/pay"
)

// browser is one Chromium for a group of tests; each test has a tab of its own.
func browser(t *testing.T) context.Context {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(testenv.Chromium(t)), chromedp.NoSandbox,
		chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(int(desktop.width), int(desktop.height)), chromedp.Flag("lang", "en-US"), chromedp.WSURLReadTimeout(time.Minute))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(cancel)
	ctx, end := chromedp.NewContext(ctx)
	t.Cleanup(end)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting the browser: %v", err)
	}
	return ctx
}

// The screens that payers have.
type screen struct {
	name          string
	width, height int64
	mobile        bool
}

var (
	phone   = screen{"phone", 390, 844, true}
	desktop = screen{"desktop", 1280, 900, false}
)

// tab is a payer's browser tab over a server of its own.
type tab struct {
	*world
	ctx    context.Context
	screen screen
}

// withSDK embeds the sandbox's stand-in of the provider's checkout.
func withSDK(w *world, c *pay.Config) {
	c.SDK = &pay.SDK{ScriptURL: w.box.URL() + "/sandbox/sdk/checkout.min.js", Merchant: w.box.URL(), PublicKey: w.box.Config().PublicKey}
}

func withCards(_ *world, c *pay.Config) { c.Cards = &pay.Cards{Key: []byte("of the test")} }

// onLoopback lets the pages' forms lead to stand-ins that have no TLS.
func onLoopback(w *world, c *pay.Config) { c.FormTargets = []string{w.box.URL(), w.server.URL} }

func newTab(t *testing.T, chromium context.Context, s screen, options ...func(*world, *pay.Config)) *tab {
	t.Helper()
	w := newWorld(t, databases[0].open(t), append(options, onLoopback)...)
	ctx, cancel := chromedp.NewContext(chromium)
	t.Cleanup(cancel)
	ctx, stop := context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(stop)
	b := &tab{w, ctx, s}
	if err := chromedp.Listen(ctx, func(ev any) {
		if e, ok := ev.(*runtime.EventExceptionThrown); ok {
			t.Errorf("a script failed: %+v", e.ExceptionDetails)
		}
	}); err != nil {
		t.Fatalf("opening a tab: %v", err)
	}
	b.sized()
	return b
}

// sized gives the tab its screen.
func (b *tab) sized() {
	b.Helper()
	b.run(chromedp.EmulateViewport(b.screen.width, b.screen.height, func(p *emulation.SetDeviceMetricsOverrideParams, _ *emulation.SetTouchEmulationEnabledParams) {
		p.Mobile = b.screen.mobile
	}))
}

func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.look("failed")
		ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), 5*time.Second)
		defer cancel()
		text, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`))
		b.Fatalf("%v; the page:\n%s", err, text)
	}
}

func (b *tab) open(page string) {
	b.Helper()
	b.run(chromedp.Navigate(b.server.URL + page))
}

// press clicks a button as a person does.
func (b *tab) press(selector string) {
	b.Helper()
	b.run(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

const payButton = `form[action*="/pay"] button`

// says waits until the page, or the one that it leads to, says something.
func (b *tab) says(words ...string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 45*time.Second)
	defer cancel()
	for _, text := range words {
		said := chromedp.Poll[chromedp.Void](fmt.Sprintf(`document.body && document.body.innerText.replace(/[\u2066-\u2069]/g, "").includes(%q)`, text),
			chromedp.WithPollingTimeout(0))
		for {
			err := chromedp.Do(ctx, said)
			if err == nil {
				break
			}
			if ctx.Err() != nil { // else the page went away while it was asked
				b.run(func(context.Context, *chromedp.Target) (chromedp.Void, error) {
					return chromedp.Void{}, fmt.Errorf("the page does not say %q: %w", text, err)
				})
			}
		}
	}
}

// checkout waits until the provider's checkout is drawn.
func (b *tab) checkout() {
	b.Helper()
	b.run(chromedp.WaitVisible(chromedp.CSS(`#checkout[data-ready]`)))
}

func (b *tab) eval(js string) string {
	b.Helper()
	out, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`String(`+js+`)`))
	if err != nil {
		b.Fatalf("%s: %v", js, err)
	}
	return out
}

// look keeps a picture of the page where DUNLIN_TEST_SCREENSHOTS names a folder.
func (b *tab) look(name string) {
	b.Helper()
	dir := os.Getenv("DUNLIN_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.Logf("no picture: %v", err)
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name+"."+b.screen.name+".png"), png, 0o644); err != nil {
		b.Error(err)
	}
}

// fits checks that nothing is cut off at the side.
func (b *tab) fits() {
	b.Helper()
	if got := b.eval(`document.documentElement.scrollWidth <= innerWidth`); got != "true" {
		b.Errorf("%s: the page is wider than the screen", b.screen.name)
	}
}

func (b *tab) sessionsAre(want ...string) {
	b.Helper()
	var got []string
	for _, s := range b.sessions() {
		got = append(got, s.State)
	}
	if g, w := strings.Join(got, " "), strings.Join(want, " "); g != w {
		b.Errorf("the provider's sessions are %q, want %q", g, w)
	}
}

// TestBrowser pays as payers do. Every test has a server, a ledger and a provider of its own; they share the browser.
func TestBrowser(t *testing.T) {
	chromium := browser(t)
	for _, tt := range []struct {
		name string
		run  func(*testing.T, context.Context)
	}{
		{"hosted page", payHosted}, {"checkout in the page", payEmbedded}, {"form error, declined, then paid", payAfterErrors},
		{"3-D Secure", payThreeDSecure}, {"cancel keeps the session", payAfterCancel}, {"session expires in the checkout", payAfterExpiry},
		{"expired link", payExpiredLink}, {"double click", payDoubleClick}, {"redirect from the checkout", payRedirect},
		{"KNET shows its result", payKNET}, {"provider down", payProviderDown}, {"by keyboard", payByKeyboard}, {"without JavaScript", payWithoutScript},
		{"script of the provider missing", payScriptMissing}, {"debt canceled while the checkout is open", payCanceled},
		{"saved cards", paySavedCards}, {"looked at", payLookedAt}, {"content policy", payPolicy},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, chromium) })
	}
}

func payHosted(t *testing.T, chromium context.Context) {
	for _, tt := range []struct {
		lang, ask, paid string
		screen          screen
	}{{"en", "Payment request", "Paid. Thank you", phone}, {"ar", "طلب دفع", "تم الدفع", desktop}} {
		b := newTab(t, chromium, tt.screen)
		id, page := b.debt(language(tt.lang))
		b.open(page)
		b.says(tt.ask)
		b.fits()
		if got, want := b.eval(`document.documentElement.dir`), map[string]string{"en": "ltr", "ar": "rtl"}[tt.lang]; got != want {
			t.Errorf("%s: the page reads %s, want %s", tt.lang, got, want)
		}
		b.look("payable." + tt.lang)
		b.press(payButton)
		b.run(chromedp.WaitVisible(chromedp.CSS(`button[value=paid]`)))
		b.fits()
		b.look("hosted." + tt.lang)
		b.press(`button[value=paid]`)
		b.says(tt.paid)
		b.look("paid." + tt.lang)
		if v := b.view(id); v.Paid != 12500 {
			t.Errorf("%s: %d is paid, want all", tt.lang, v.Paid)
		}
		b.sessionsAre("paid")
	}
}

func payEmbedded(t *testing.T, chromium context.Context) {
	for _, tt := range []struct {
		lang, ask, paid string
		screen          screen
	}{{"en", "Choose how to pay", "Paid. Thank you", phone}, {"ar", "اختر طريقة الدفع", "تم الدفع", phone}, {"en", "Choose how to pay", "Paid. Thank you", desktop}} {
		b := newTab(t, chromium, tt.screen, withSDK)
		id, page := b.debt(language(tt.lang))
		b.open(page)
		b.press(payButton)
		b.says(tt.ask)
		b.checkout()
		b.fits()
		if got := b.eval(`document.getElementById("applePay")`); got != "null" {
			t.Error("Apple Pay is offered where there is none")
		}
		if got := b.eval(`document.getElementById("tokenPay")`); got != "null" {
			t.Error("saved cards are offered to whoever has the link")
		}
		b.look("checkout." + tt.lang)
		b.card("4111111111111111")
		b.says(tt.paid)
		if got := b.eval(`location.pathname`); got != page+"/return" {
			t.Errorf("the payer ends at %s", got)
		}
		if v := b.view(id); v.Paid != 12500 {
			t.Errorf("%d is paid, want all", v.Paid)
		}
		b.sessionsAre("paid")
	}
}

func (b *tab) card(number string) {
	b.Helper()
	b.run(chromedp.WaitVisible(chromedp.CSS(`#number`)), chromedp.SetValue(chromedp.CSS(`#number`), number))
	b.press(`#pay-card`)
}

func payAfterErrors(t *testing.T, chromium context.Context) {
	b := newTab(t, chromium, phone, withSDK)
	_, page := b.debt()
	b.open(page)
	b.press(payButton)
	b.checkout()
	b.card("12")
	b.says("Check the card number", "check what you entered and try", "Pay on the payment service's own page")
	b.look("checkout.form_error")
	if got := b.eval(`document.getElementById("number").value`); got != "12" {
		t.Errorf("the form lost what was typed: %q", got)
	}
	b.card("4000000000000002")
	b.says("You were not charged")
	b.card("4111111111111111")
	b.says("Paid. Thank you")
	b.sessionsAre("paid")
}

func payThreeDSecure(t *testing.T, chromium context.Context) {
	b := newTab(t, chromium, phone, withSDK)
	_, page := b.debt()
	b.open(page)
	b.press(payButton)
	b.checkout()
	b.card("4000000000003155")
	b.press(`#bank-no`)
	b.says("You were not charged")
	b.look("checkout.challenge_failed")
	b.sessionsAre("attempted")
	b.card("4000000000003155")
	b.press(`#bank-yes`)
	b.says("Paid. Thank you")
	b.sessionsAre("paid")
}

func payAfterCancel(t *testing.T, chromium context.Context) {
	b := newTab(t, chromium, phone, withSDK)
	id, page := b.debt()
	b.open(page)
	b.press(payButton)
	b.checkout()
	session := b.view(id).Live.ProviderID
	b.press(`#cancel`)
	b.says("You were not charged")
	b.open(page)
	b.says("You went on to payment")
	b.press(payButton)
	b.checkout()
	if got := b.eval(`document.getElementById("checkout").dataset.session`); got != session {
		t.Errorf("the session is %s, want the same as before", got)
	}
	b.press(`#googlePay`)
	b.says("Paid. Thank you")
	b.sessionsAre("paid")
}

// payAfterExpiry has the provider end the session while the checkout shows it: the payer gets another without a word.
func payAfterExpiry(t *testing.T, chromium context.Context) {
	b := newTab(t, chromium, phone, withSDK)
	id, page := b.debt()
	b.open(page)
	b.press(payButton)
	b.checkout()
	old := b.view(id).Live.ProviderID
	b.press(`#expire`)
	b.run(chromedp.WaitReady(chromedp.CSS(fmt.Sprintf(`#checkout[data-ready]:not([data-session=%q])`, old))))
	b.oneLive()
	b.card("4111111111111111")
	b.says("Paid. Thank you")
	b.sessionsAre("expired", "paid")
}

func payExpiredLink(t *testing.T, chromium context.Context) {
	b := newTab(t, chromium, phone, withSDK)
	_, page := b.debt()
	b.clock.Advance(30 * time.Hour)
	b.open(page)
	b.says("Payment request")
	b.sessionsAre("expired")
	b.press(payButton)
	b.checkout()
	b.oneLive()
	b.card("4111111111111111")
	b.says("Paid. Thank you")
	b.sessionsAre("expired", "paid")
}

func payDoubleClick(t *testing.T, chromium context.Context) {
	b := newTab(t, chromium, desktop)
	_, page := b.debt()
	b.clock.Advance(30 * time.Hour)
	b.open(page)
	b.run(chromedp.DoubleClick(chromedp.CSS(payButton), chromedp.NodeVisible), chromedp.WaitVisible(chromedp.CSS(`button[value=paid]`)))
	b.oneLive()
	if got := len(b.sessions()); got != 2 {
		t.Errorf("two clicks made %d sessions, want one beside the dead one", got-1)
	}
}

func payRedirect(t *testing.T, chromium context.Context) {
	b := newTab(t, chromium, phone, withSDK)
	_, page := b.debt()
	b.open(page)
	b.press(payButton)
	b.checkout()
	b.press(`#redirect`)
	b.press(`button[value=part]`)
	b.says("Part of it is paid", "KWD 6.250")
	b.look("part_paid.en")
	b.press(payButton)
	b.checkout()
	b.press(`form[action$="/hosted"] button`)
	b.press(`button[value=paid]`)
	b.says("Paid. Thank you")
	b.sessionsAre("paid", "paid")
}

func payKNET(t *testing.T, chromium context.Context) {
	b := newTab(t, chromium, phone, withSDK)
	_, page := b.debt()
	b.open(page)
	b.press(payButton)
	b.checkout()
	b.press(`#knet`)
	b.says("NOT CAPTURED", "You were not charged")
	b.look("checkout.knet")
	b.sessionsAre("attempted")
}

func payProviderDown(t *testing.T, chromium context.Context) {
	for _, lang := range []string{"en", "ar"} {
		b := newTab(t, chromium, phone, withSDK)
		_, page := b.debt(language(lang))
		b.clock.Advance(30 * time.Hour)
		if err := b.box.AddFault(sandbox.Rule{Provider: sandbox.Ottu, Action: sandbox.Refuse, Status: 503}); err != nil {
			t.Fatal(err)
		}
		b.open(page)
		b.press(payButton)
		b.says(map[string]string{"en": "Payment is not possible just now", "ar": "الدفع غير ممكن في الوقت الحالي"}[lang])
		b.fits()
		b.look("down." + lang)
		b.box.ClearFaults()
		b.clock.Advance(time.Minute)
		b.press(payButton)
		b.checkout()
		b.oneLive()
	}
}

// payByKeyboard never touches the mouse.
func payByKeyboard(t *testing.T, chromium context.Context) {
	b := newTab(t, chromium, desktop, withSDK)
	_, page := b.debt()
	b.open(page)
	b.says("Payment request")
	b.tabTo(`document.activeElement.matches('form[action$="/pay"] button')`)
	if got := b.eval(`getComputedStyle(document.activeElement).outlineStyle`); got == "none" {
		t.Error("the button does not show that it has the focus")
	}
	b.look("focus.en")
	b.run(chromedp.KeyEvent(kb.Enter))
	b.checkout()
	b.tabTo(`document.activeElement.id === "number"`)
	b.run(chromedp.KeyEvent("4000000000003155" + kb.Enter))
	b.run(chromedp.WaitVisible(chromedp.CSS(`#bank-yes`)), chromedp.KeyEvent(kb.Enter))
	b.says("Paid. Thank you")
}

// tabTo presses Tab until a condition holds.
func (b *tab) tabTo(condition string) {
	b.Helper()
	for range 12 {
		b.run(chromedp.KeyEvent(kb.Tab))
		if b.eval(condition) == "true" {
			return
		}
	}
	b.Fatalf("Tab does not lead to where %s", condition)
}

func payWithoutScript(t *testing.T, chromium context.Context) {
	for _, options := range [][]func(*world, *pay.Config){nil, {withSDK}} {
		b := newTab(t, chromium, phone, options...)
		id, page := b.debt()
		if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
			t.Fatal(err)
		}
		b.open(page)
		b.press(payButton)
		if len(options) > 0 {
			b.run(chromedp.WaitVisible(chromedp.CSS(`noscript p`)))
			b.look("checkout.no_script")
			b.press(`form[action$="/hosted"] button`)
		}
		b.press(`button[value=paid]`)
		b.run(chromedp.WaitVisible(chromedp.CSS(`section.good`)))
		if v := b.view(id); v.Paid != 12500 {
			t.Errorf("%d is paid, want all", v.Paid)
		}
	}
}

func payScriptMissing(t *testing.T, chromium context.Context) {
	b := newTab(t, chromium, phone, withSDK, func(w *world, c *pay.Config) { c.SDK.ScriptURL = w.box.URL() + "/no/such.js" })
	_, page := b.debt()
	b.open(page)
	b.press(payButton)
	b.says("could not be loaded")
	b.look("checkout.absent")
	b.press(`form[action$="/hosted"] button`)
	b.press(`button[value=paid]`)
	b.says("Paid. Thank you")
}

// payCanceled is the merchant calling the debt off while its payer has the checkout open.
func payCanceled(t *testing.T, chromium context.Context) {
	b := newTab(t, chromium, phone, withSDK)
	id, page := b.debt()
	b.open(page)
	b.press(payButton)
	b.checkout()
	if _, err := b.db.CancelRequest(t.Context(), id, "clerk", ""); err != nil {
		t.Fatal(err)
	}
	b.card("4111111111111111")
	b.says("This request was canceled")
	if v := b.view(id); v.Paid != 0 {
		t.Errorf("%d was paid for a debt that was called off", v.Paid)
	}
}

func paySavedCards(t *testing.T, chromium context.Context) {
	b := newTab(t, chromium, phone, withSDK, withCards)
	id, page := b.debt(customer)
	b.open(page)
	b.press(payButton)
	b.says("Use your saved cards?")
	b.fits()
	b.look("cards.en")
	b.digits("9999")
	b.says("These are not the digits")
	b.look("cards.wrong")
	b.digits("0001")
	b.checkout()
	b.press(`#tokenPay`)
	b.says("Paid. Thank you")
	if v := b.view(id); v.Paid != 12500 || !v.Last.Cards {
		t.Errorf("%d was paid, by a session with saved cards: %t", v.Paid, v.Last.Cards)
	}
}

func (b *tab) digits(s string) {
	b.Helper()
	b.run(chromedp.WaitVisible(chromedp.CSS(`#digits`)), chromedp.SetValue(chromedp.CSS(`#digits`), s))
	b.press(`form[action$="/cards"] button`)
}

// payLookedAt: a look by a browser is recorded once, and is not yet what counts as engaged.
func payLookedAt(t *testing.T, chromium context.Context) {
	b := newTab(t, chromium, phone)
	id, page := b.debt()
	b.open(page)
	wait := time.After(45 * time.Second)
	for b.view(id).ViewedAt.IsZero() {
		select {
		case <-wait:
			t.Fatal("the look was not told of")
		default:
		}
	}
	before := len(b.timeline(id))
	b.open(page)
	if got := b.eval(`document.scripts.length`); got != "0" {
		t.Error("a look that is known is told of again")
	}
	if v := b.view(id); !v.EngagedAt.IsZero() || len(b.timeline(id)) != before {
		t.Errorf("engaged at %s with %d events, want never and %d", v.EngagedAt, len(b.timeline(id)), before)
	}
}

// payPolicy: what the policy does not name does not run.
func payPolicy(t *testing.T, chromium context.Context) {
	b := newTab(t, chromium, desktop, withSDK)
	_, page := b.debt()
	b.open(page)
	b.press(payButton)
	b.checkout()
	b.run(chromedp.Evaluate[chromedp.Void](`document.body.append(Object.assign(document.createElement("script"), {textContent: "window.evil = 1"}));
		document.body.append(Object.assign(document.createElement("script"), {src: "http://localhost:1/evil.js"}))`))
	if got := b.eval(`window.evil`); got != "undefined" {
		t.Error("a script in the page ran")
	}
	if u, err := url.Parse(b.eval(`location.href`)); err != nil || strings.Contains(u.RawQuery, "session") {
		t.Errorf("the page's address is %v", u)
	}
}
