package batchfile

import (
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// The library takes 12 µs and 50 allocations a number, most of it in regular expressions that are tried one after the
// other. A file of a million rows has a million numbers. So the same expressions, from the library's own metadata, are
// compiled into automata over digits here, which takes 0.2 µs a number; whatever could take another turn inside the
// library (a national prefix, a leading zero, a number of no single country) is left to it. The tests compare both over
// the numbers of all countries.

// numberPlan holds what is needed of one calling code, or of one region as the place that a number is dialed from.
type numberPlan struct {
	code     string       // calling code
	regions  []regionPlan // in the library's order, the main one first
	prefixes []*automaton // how a number may begin that the library would treat specially
}

type regionPlan struct {
	name    string
	leading *automaton // the digits that tell this region from others of its code; nil = its types decide
	general numberForm
	types   []numberType // in the library's order
	fixed   *numberForm
	mobile  *numberForm
	same    bool // fixed and mobile cannot be told apart
}

type numberType struct {
	kind phonenumbers.PhoneNumberType
	form numberForm
}

type numberForm struct {
	lengths []int32 // none = any
	digits  *automaton
}

func (f *numberForm) match(number string) bool {
	return (len(f.lengths) == 0 || slices.Contains(f.lengths, int32(len(number)))) && f.digits.match(number)
}

// lookup finds a number in the tables; known is false if the library must be asked.
func (b *phoneBook) lookup(number, region string) (p phone, ok, known bool) {
	national, plan := number, (*numberPlan)(nil)
	if number[0] == '+' {
		if len(number) > 1 && number[1] == '0' {
			return phone{}, false, false // no calling code begins so
		}
		for n := 1; n <= 3 && n+1 < len(number) && plan == nil; n++ {
			plan = b.plan(number[:n+1])
			national = number[n+1:]
		}
	} else if region != "" {
		plan = b.plan(region)
	}
	if plan == nil || len(national) < 4 || len(national) > 15 || national[0] == '0' {
		return phone{}, false, false
	}
	for _, prefix := range plan.prefixes {
		if prefix.matchPrefix(national) {
			return phone{}, false, false
		}
	}
	for i := range plan.regions {
		r := &plan.regions[i]
		kind := phonenumbers.UNKNOWN
		if r.leading == nil || len(plan.regions) == 1 {
			kind = r.kind(national)
		} else if r.leading.matchPrefix(national) {
			kind = r.kind(national)
			if kind == phonenumbers.UNKNOWN {
				return phone{}, false, true
			}
		}
		if kind != phonenumbers.UNKNOWN {
			return newPhone("+"+plan.code+national, r.name, kind), true, true
		}
	}
	return phone{}, false, true
}

// kind is the library's decision on a number's type, in its order.
func (r *regionPlan) kind(national string) phonenumbers.PhoneNumberType {
	if !r.general.match(national) {
		return phonenumbers.UNKNOWN
	}
	for i := range r.types {
		if r.types[i].form.match(national) {
			return r.types[i].kind
		}
	}
	switch {
	case r.fixed.match(national):
		if r.same || r.mobile.match(national) {
			return phonenumbers.FIXED_LINE_OR_MOBILE
		}
		return phonenumbers.FIXED_LINE
	case !r.same && r.mobile.match(national):
		return phonenumbers.MOBILE
	}
	return phonenumbers.UNKNOWN
}

// plan gives the plan by calling code ("+965") or region ("KW"), made when first asked for: a file has few countries.
func (b *phoneBook) plan(key string) *numberPlan {
	plan, seen := b.plans[key]
	if !seen {
		plan = newNumberPlan(key)
		b.plans[key] = plan
	}
	return plan
}

func newNumberPlan(key string) *numberPlan {
	all, err := phonenumbers.MetadataCollection()
	if err != nil {
		return nil
	}
	byRegion := map[string]*phonenumbers.PhoneMetadata{}
	for _, m := range all.GetMetadata() {
		byRegion[m.GetId()] = m
	}
	var code int
	var from *phonenumbers.PhoneMetadata // whose prefixes count
	if digits, ok := strings.CutPrefix(key, "+"); ok {
		if code, err = strconv.Atoi(digits); err != nil {
			return nil
		}
		from = byRegion[phonenumbers.GetRegionCodeForCountryCode(code)]
	} else if from = byRegion[key]; from != nil {
		code = int(from.GetCountryCode())
	}
	if from == nil || code == 0 {
		return nil
	}
	plan := &numberPlan{code: strconv.Itoa(code)}
	prefixes := []string{from.GetNationalPrefixForParsing()}
	if key[0] != '+' {
		prefixes = append(prefixes, from.GetInternationalPrefix(), plan.code)
	}
	for _, p := range prefixes {
		if p == "" {
			continue
		}
		a := newAutomaton(p)
		if a == nil {
			return nil
		}
		plan.prefixes = append(plan.prefixes, a)
	}
	for _, name := range phonenumbers.GetRegionCodesForCountryCode(code) {
		r, ok := newRegionPlan(byRegion[name])
		if !ok {
			return nil
		}
		plan.regions = append(plan.regions, r)
	}
	return plan
}

func newRegionPlan(m *phonenumbers.PhoneMetadata) (r regionPlan, ok bool) {
	if m == nil || len(m.GetId()) != 2 {
		return r, false
	}
	ok = true
	form := func(d *phonenumbers.PhoneNumberDesc) numberForm {
		a := newAutomaton(d.GetNationalNumberPattern())
		ok = ok && a != nil
		return numberForm{d.GetPossibleLength(), a}
	}
	r.name, r.same = m.GetId(), m.GetSameMobileAndFixedLinePattern()
	r.general = form(m.GetGeneralDesc())
	for _, t := range []struct {
		kind phonenumbers.PhoneNumberType
		desc *phonenumbers.PhoneNumberDesc
	}{
		{phonenumbers.PREMIUM_RATE, m.GetPremiumRate()}, {phonenumbers.TOLL_FREE, m.GetTollFree()},
		{phonenumbers.SHARED_COST, m.GetSharedCost()}, {phonenumbers.VOIP, m.GetVoip()},
		{phonenumbers.PERSONAL_NUMBER, m.GetPersonalNumber()}, {phonenumbers.PAGER, m.GetPager()},
		{phonenumbers.UAN, m.GetUan()}, {phonenumbers.VOICEMAIL, m.GetVoicemail()},
	} {
		r.types = append(r.types, numberType{t.kind, form(t.desc)})
	}
	fixed, mobile := form(m.GetFixedLine()), form(m.GetMobile())
	r.fixed, r.mobile = &fixed, &mobile
	if lead := m.GetLeadingDigits(); lead != "" {
		r.leading = newAutomaton(lead)
		ok = ok && r.leading != nil
	}
	return r, ok
}

// automaton is a regular expression over digits, made deterministic as far as the input asks for it. It accepts exactly
// the same strings of digits as the expression.
type automaton struct {
	prog  *syntax.Prog
	ids   map[string]int
	sets  [][]uint32 // the program's positions that a state stands for
	next  [][10]int  // state by digit; 0 = not worked out yet
	final []bool
}

const (
	dead  = 1 // nothing can match any more
	first = 2
)

// newAutomaton is nil if the expression has more to it than digits, such as anchors.
func newAutomaton(pattern string) *automaton {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil
	}
	for _, inst := range prog.Inst {
		if inst.Op == syntax.InstEmptyWidth {
			return nil
		}
	}
	a := &automaton{prog: prog, ids: map[string]int{}}
	a.add("unset", nil)
	a.state(nil) // dead
	a.state(a.reach(nil, uint32(prog.Start)))
	return a
}

// match reports whether the expression matches all of number.
func (a *automaton) match(number string) bool {
	s := first
	for i := range len(number) {
		if s = a.step(s, number[i]-'0'); s == dead {
			return false
		}
	}
	return a.final[s]
}

// matchPrefix reports whether the expression matches some beginning of number.
func (a *automaton) matchPrefix(number string) bool {
	s := first
	for i := range len(number) {
		if a.final[s] {
			return true
		}
		if s = a.step(s, number[i]-'0'); s == dead {
			return false
		}
	}
	return a.final[s]
}

func (a *automaton) step(s int, digit byte) int {
	if n := a.next[s][digit]; n != 0 {
		return n
	}
	var set []uint32
	for _, pc := range a.sets[s] {
		if inst := &a.prog.Inst[pc]; inst.Op != syntax.InstMatch && inst.MatchRune(rune('0'+digit)) {
			set = a.reach(set, inst.Out)
		}
	}
	n := a.state(set)
	a.next[s][digit] = n
	return n
}

// reach adds to set the positions that consume something, or match, and are reached from pc without input.
func (a *automaton) reach(set []uint32, pc uint32) []uint32 {
	var seen []uint32
	var follow func(pc uint32)
	follow = func(pc uint32) {
		if slices.Contains(seen, pc) {
			return
		}
		seen = append(seen, pc)
		switch inst := &a.prog.Inst[pc]; inst.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			follow(inst.Out)
			follow(inst.Arg)
		case syntax.InstCapture, syntax.InstNop:
			follow(inst.Out)
		case syntax.InstFail:
		default:
			if !slices.Contains(set, pc) {
				set = append(set, pc)
			}
		}
	}
	follow(pc)
	return set
}

// state is the number of a set of positions.
func (a *automaton) state(set []uint32) int {
	slices.Sort(set)
	key := make([]byte, 0, 4*len(set))
	for _, pc := range set {
		key = append(key, byte(pc), byte(pc>>8), byte(pc>>16), byte(pc>>24))
	}
	if id, ok := a.ids[string(key)]; ok {
		return id
	}
	return a.add(string(key), set)
}

func (a *automaton) add(key string, set []uint32) int {
	id := len(a.sets)
	a.ids[key] = id
	a.sets = append(a.sets, set)
	a.next = append(a.next, [10]int{})
	a.final = append(a.final, slices.ContainsFunc(set, func(pc uint32) bool { return a.prog.Inst[pc].Op == syntax.InstMatch }))
	return id
}
