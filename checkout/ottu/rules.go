package ottu

import (
	"slices"

	"dunlin/paylink"
)

// call is a kind of request that [Rules] tell apart.
type call string

const (
	callCreate   call = "create"
	callRetrieve call = "retrieve"
	callUpdate   call = "update"
	callEnd      call = "end" // expire and cancel
)

// Rule says what one answer to one kind of call means, and why. Rules are data so that the manual can be made from them.
type Rule struct {
	// Call is create, retrieve, update or end (which is both expire and cancel); "*" is every call without its own rule.
	Call string
	// Answer is an HTTP status ("404"), a status with the field that was refused ("400 pg_codes"), a class ("5xx"), or
	// what stands in for an answer: invalid, unsent, lost, unreadable, mismatch, failed, foreign.
	Answer string
	Kind   paylink.Kind
	Scope  paylink.Scope
	Cause  paylink.Cause
	Why    string
}

// Rules returns what each answer means. The first rule that fits a call and the most exact word for its answer counts;
// a call's own rule goes before one for every call.
func Rules() []Rule { return slices.Clone(rules) }

var rules = []Rule{
	// Making a session: a payable link may exist although we did not hear of it.
	{"create", "invalid", paylink.Permanent, paylink.ScopeRow, paylink.CauseInternal,
		"Nothing was sent: the order lacks what every session must have."},
	{"create", "lost", paylink.Unknown, paylink.ScopeProvider, paylink.CauseLostAnswer,
		"The request was handed to a connection and no status came back; the session may have been made before the time-out, the reset or the end of the connection."},
	{"create", "unreadable", paylink.Unknown, paylink.ScopeProvider, paylink.CauseLostAnswer,
		"A 2xx says that something was made, but its body is truncated, too long, no JSON, or without session_id, amount or checkout_url: the link is lost, the session is not."},
	{"create", "mismatch", paylink.Unknown, paylink.ScopeRow, paylink.CauseLostAnswer,
		"A session was made, but not the one that was asked for (amount, currency, order_no) or not a payable one; its link must reach nobody and it must be ended."},
	{"create", "3xx", paylink.Unknown, paylink.ScopeProvider, paylink.CauseLostAnswer,
		"Redirects are not followed; one may come from something in front of Ottu, or after the work was done."},
	{"create", "400 order_no", paylink.Unknown, paylink.ScopeRow, paylink.CauseLostAnswer,
		"Our order numbers have a safe form and are used once, so a refused one hints that something on the way repeated the request and the first was accepted."},
	{"create", "400 amount", paylink.Permanent, paylink.ScopeRow, paylink.CauseCurrency,
		"Amount or currency_code is refused. Goes before pg_codes: a method that does not take this row's currency is the row's matter."},
	{"create", "400 pg_codes", paylink.Temporary, paylink.ScopeAccount, paylink.CauseAccount,
		"The payment method codes are our configuration and the same in every row; no payer is failed for them."},
	{"create", "400", paylink.Permanent, paylink.ScopeRow, paylink.CauseCheckoutRefused,
		"Validation refused this row's data; the same data will be refused again."},
	{"create", "413", paylink.Permanent, paylink.ScopeRow, paylink.CauseCheckoutRefused,
		"The body is too large for the server; only this row's texts can make it so."},
	{"create", "422", paylink.Permanent, paylink.ScopeRow, paylink.CauseCheckoutRefused,
		"One page of the manual names it for validation; it is read as 400."},
	{"create", "404", paylink.Temporary, paylink.ScopeAccount, paylink.CauseAccount,
		"Its meaning on create is not documented, but nothing in the path depends on the row: a wrong host, or a plugin or method that is missing there, fails every row alike."},
	{"create", "4xx", paylink.Unknown, paylink.ScopeRow, paylink.CauseLostAnswer,
		"Not documented for this call (408, 409 and 499 may even follow work that was done); ending the order number settles it."},
	{"create", "5xx", paylink.Unknown, paylink.ScopeProvider, paylink.CauseLostAnswer,
		"A balancer answers 502, 503 and 504 without knowing what happened behind it, and 500 may come after the row was stored."},

	// Changing a session: an error is settled by retrieving and comparing.
	{"update", "lost", paylink.Unknown, paylink.ScopeProvider, paylink.CauseLostAnswer,
		"The change may have been made."},
	{"update", "unreadable", paylink.Unknown, paylink.ScopeProvider, paylink.CauseLostAnswer,
		"The change was probably made, but the answer does not show it."},
	{"update", "mismatch", paylink.Unknown, paylink.ScopeRow, paylink.CauseLostAnswer,
		"The answer does not show what was asked for, or a state that is not known."},
	{"update", "3xx", paylink.Unknown, paylink.ScopeProvider, paylink.CauseLostAnswer,
		"As for create."},
	{"update", "400 amount", paylink.Permanent, paylink.ScopeRow, paylink.CauseCurrency,
		"Ottu refuses the new amount; the session is to be ended and replaced."},
	{"update", "400", paylink.Permanent, paylink.ScopeRow, paylink.CauseCheckoutRefused,
		"The only refusal of a change that Ottu documents; the session is to be ended and replaced."},
	{"update", "4xx", paylink.Unknown, paylink.ScopeRow, paylink.CauseLostAnswer,
		"Not the documented refusal (404 among them); retrieving says what is there."},
	{"update", "5xx", paylink.Unknown, paylink.ScopeProvider, paylink.CauseLostAnswer,
		"As for create."},

	// Reading: nothing is dangerous to repeat, but nobody may take silence for a session that does not exist.
	{"retrieve", "404", paylink.Permanent, paylink.ScopeRow, paylink.CauseCheckoutRefused,
		"Ottu's own JSON says that it has no such session."},
	{"retrieve", "foreign", paylink.Temporary, paylink.ScopeAccount, paylink.CauseAccount,
		"A 404 that is not Ottu's JSON comes from something else (a wrong host, a proxy) and proves nothing about the session."},
	{"retrieve", "mismatch", paylink.Temporary, paylink.ScopeRow, paylink.CauseLostAnswer,
		"The answer shows another session, or a state that is not known; guessing could free the place of a live session."},

	// Ending: harmless to repeat, so only Ottu's own no is one.
	{"end", "400", paylink.Permanent, paylink.ScopeRow, paylink.CauseCheckoutRefused,
		"There is no such session, or its state does not allow this (paid, or ended already). It proves neither: a lost create may land later."},
	{"end", "failed", paylink.Permanent, paylink.ScopeRow, paylink.CauseCheckoutRefused,
		"A 200 whose result is failed says what a 400 says."},

	// Every call.
	{"*", "invalid", paylink.Temporary, paylink.ScopeRow, paylink.CauseInternal,
		"Nothing was sent, by our own mistake. Not permanent, because that is read as a refusal by Ottu."},
	{"*", "unsent", paylink.Temporary, paylink.ScopeProvider, paylink.CauseUnavailable,
		"The name was not resolved, the connection or the TLS handshake failed, or time ran out before a connection was there: not one byte of the request left."},
	{"*", "lost", paylink.Temporary, paylink.ScopeProvider, paylink.CauseUnavailable,
		"Asking again harms nobody."},
	{"*", "unreadable", paylink.Temporary, paylink.ScopeProvider, paylink.CauseUnavailable,
		"Asking again harms nobody."},
	{"*", "401", paylink.Temporary, paylink.ScopeAccount, paylink.CauseAccount,
		"The key is wrong, expired or revoked; no payer is failed for it."},
	{"*", "403", paylink.Temporary, paylink.ScopeAccount, paylink.CauseAccount,
		"The key may not do this, API access is off, or our address is not on the installation's list."},
	{"*", "405", paylink.Temporary, paylink.ScopeAccount, paylink.CauseAccount,
		"The host does not offer this call: a wrong host or a plugin that is off."},
	{"*", "407", paylink.Temporary, paylink.ScopeAccount, paylink.CauseAccount,
		"A proxy of ours wants credentials."},
	{"*", "415", paylink.Temporary, paylink.ScopeAccount, paylink.CauseAccount,
		"The host does not take JSON here; no row can change that."},
	{"*", "423", paylink.Temporary, paylink.ScopeProvider, paylink.CauseUnavailable,
		"Locked. Not explained by Ottu; taken for a paused installation or plugin, about which a person should be told."},
	{"*", "429", paylink.Temporary, paylink.ScopeProvider, paylink.CauseRateLimited,
		"Over a limit (of the day, the minute or one session); nothing was done."},
	{"*", "3xx", paylink.Temporary, paylink.ScopeProvider, paylink.CauseUnavailable,
		"Redirects are not followed, and asking again harms nobody."},
	{"*", "4xx", paylink.Temporary, paylink.ScopeRow, paylink.CauseCheckoutRefused,
		"Not documented for this call, so it proves nothing about the session."},
	{"*", "5xx", paylink.Temporary, paylink.ScopeProvider, paylink.CauseUnavailable,
		"Asking again harms nobody."},
}

// ruleFor finds the rule for the first of the answers (most exact first) that has one. Every call has a rule for every
// class of answer, which a test walks; a gap would be read as an unknown outcome.
func ruleFor(k call, answers ...string) Rule {
	for _, answer := range answers {
		for _, who := range []string{string(k), "*"} {
			if i := slices.IndexFunc(rules, func(r Rule) bool { return r.Call == who && r.Answer == answer }); i >= 0 {
				return rules[i]
			}
		}
	}
	return Rule{string(k), answers[0], paylink.Unknown, paylink.ScopeRow, paylink.CauseInternal, "No rule."}
}
