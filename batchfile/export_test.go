package batchfile

// PhoneTables is a phone book that is kept between calls of Lookup.
type PhoneTables struct{ book *phoneBook }

func NewPhoneTables() *PhoneTables { return &PhoneTables{newPhoneBook()} }

// Verdict is what is known of a number.
type Verdict struct {
	E164, Region string
	Textable, OK bool
}

// Lookup asks the tables; known is false where they leave it to the library.
func (t *PhoneTables) Lookup(number, region string) (v Verdict, known bool) {
	p, ok, known := t.book.lookup(number, region)
	return Verdict{p.e164, p.region, p.textable, ok}, known
}

// Library asks the library.
func (t *PhoneTables) Library(number, region string) Verdict {
	p, ok := parseByLibrary(number, region)
	return Verdict{p.e164, p.region, p.textable, ok}
}

// Decimal is the reading of an XLSX cell that holds an amount.
var Decimal = decimal
