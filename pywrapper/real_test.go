package pywrapper

const hostEnv = "PYWRAPPER_TEST_HOST"

func runHost() {}
