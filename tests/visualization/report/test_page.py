"""The page in a real browser: it sorts, filters, asks nothing of the network, is safe, prints, fits a phone."""
import base64
import re
from html.parser import HTMLParser

import pytest

from cxrdet.visualization.report import render_page


def columns(driver, number):
    """Texts of a column of the table of classes, from top to bottom."""
    return driver.execute_script(
        'return [...document.querySelector("#classes table").tBodies[0].rows].map(row => row.cells[arguments[0]]'
        '.dataset.value ?? row.cells[arguments[0]].textContent)', number)


def sorts(driver):
    return driver.execute_script('return [...document.querySelectorAll("#classes thead th")]'
                                 '.map(head => head.getAttribute("aria-sort"))')


def visible(driver):
    return driver.execute_script('return [...document.querySelectorAll(".card")]'
                                 '.map(card => card.offsetParent !== null)')


def test_all_parts_are_there_and_the_outline_is_sound(page):
    class Reader(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open, self.headings, self.ids, self.links = [], [], [], []

        def handle_starttag(self, name, attributes):
            attributes = dict(attributes)
            if name not in ('meta', 'br', 'img'):
                self.open.append(name)
            if re.fullmatch('h[1-6]', name):
                self.headings.append(int(name[1]))
            self.ids += [attributes['id']] if 'id' in attributes else []
            self.links += [attributes['href'][1:]] if attributes.get('href', '').startswith('#') else []
            assert name != 'img' or attributes['alt'], 'an image needs words'

        def handle_endtag(self, name):
            assert self.open.pop() == name, f'</{name}> closes something else'
    reader = Reader()
    reader.feed(page.read_text())
    assert not reader.open
    assert reader.headings[0] == 1 and reader.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(reader.headings, reader.headings[1:]))
    assert len(set(reader.ids)) == len(reader.ids) and set(reader.links) <= set(reader.ids)
    assert [link for link in reader.links if link != 'main'] == [
        'summary', 'advice', 'data', 'model', 'training', 'classes', 'curves', 'confusion', 'errors', 'calibration',
        'pictures', 'reproduce']


def test_no_console_line_and_no_request(page, browser):
    browser.open(page)
    assert browser.console() == []
    assert browser.requests() == [page.as_uri()]


def test_the_policy_forbids_the_network(page, browser):
    driver = browser.open(page)
    blocked = driver.execute_async_script('fetch("http://127.0.0.1:9/").then(() => arguments[0]("sent"), '
                                          'error => arguments[0](error.name))')
    assert blocked == 'TypeError'
    assert any('Content Security Policy' in line for line in browser.console())


def test_names_that_look_like_markup_are_text(page, browser):
    driver = browser.open(page)
    assert driver.execute_script('return document.scripts.length') == 1
    assert driver.execute_script('return document.querySelectorAll("img[onerror], main b, main script").length') == 0
    assert driver.execute_script('return document.querySelectorAll("figure").length') == 4 + 4 + 1 + 1
    text = driver.find_element('id', 'classes').text
    assert '<script>alert(1)</script>' in text and 'a"b\'&amp;{c}' in text and '$title' in text
    assert driver.title == 'Report of <x>'
    assert '<img src=x onerror=alert(2)>' in driver.find_element('id', 'advice').text


def test_sorts_by_click(page, browser):
    driver = browser.open(page)
    head = driver.find_elements('css selector', '#classes thead button')
    assert set(sorts(driver)) == {'none'}
    head[4].click()
    assert columns(driver, 4) == ['0.9', '0.5', '0.25', ''] and sorts(driver)[4] == 'descending'
    head[4].click()
    assert columns(driver, 4) == ['0.25', '0.5', '0.9', ''] and sorts(driver)[4] == 'ascending'
    head[0].click()
    assert columns(driver, 0)[0].startswith('<script>') and sorts(driver) == ['ascending'] + 8 * ['none']


def test_sorts_by_keyboard_and_shows_the_focus(page, browser):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys
    driver = browser.open(page)
    for _ in range(60):
        ActionChains(driver).send_keys(Keys.TAB).perform()
        focused = driver.switch_to.active_element
        outline = focused.value_of_css_property('outline-style')
        assert outline != 'none', focused.get_attribute('outerHTML')[:80]
        if focused.text.startswith('Training') and focused.tag_name == 'button':
            break
    ActionChains(driver).send_keys(Keys.ENTER).perform()
    assert columns(driver, 1) == ['30', '20', '10', '0']
    ActionChains(driver).send_keys(Keys.SPACE).perform()
    assert columns(driver, 1) == ['0', '10', '20', '30'] and sorts(driver)[1] == 'ascending'


def test_the_first_stop_skips_to_the_report(page, browser):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys
    driver = browser.open(page)
    ActionChains(driver).send_keys(Keys.TAB).perform()
    link = driver.switch_to.active_element
    assert link.text == 'Skip to the report' and link.rect['x'] >= 0
    ActionChains(driver).send_keys(Keys.ENTER).perform()
    assert driver.switch_to.active_element.get_attribute('id') == 'main'


@pytest.mark.parametrize('label, kind, expected', [
    ('', '', [True, True, True, True]), ('0', '', [True, False, True, False]),
    ('', 'missed', [True, False, True, True]), ('0', 'missed', [True, False, False, False]),
    ('3', 'background', [False] * 4)])
def test_filters_by_class_and_kind(label, kind, expected, page, browser):
    from selenium.webdriver.support.select import Select
    driver = browser.open(page)
    Select(driver.find_element('id', 'filter-class')).select_by_value(label)
    Select(driver.find_element('id', 'filter-kind')).select_by_value(kind)
    assert visible(driver) == expected
    assert driver.find_element('css selector', '[role=status]').text == f'{sum(expected)} of 4 pictures'


def test_offers_what_there_is(page, browser):
    from selenium.webdriver.support.select import Select
    driver = browser.open(page)
    classes, kinds = (Select(driver.find_element('id', f'filter-{name}')).options for name in ('class', 'kind'))
    assert [option.get_attribute('value') for option in classes] == ['', '0', '1', '3']
    assert [option.text for option in kinds] == ['all', 'missed', 'nothing is there']


def test_a_picture_grows_and_shrinks(page, browser):
    driver = browser.open(page)
    button = driver.find_element('css selector', '.card button')
    small = button.size['width']
    driver.execute_script('arguments[0].scrollIntoView()', button)
    button.click()
    assert button.size['width'] > 2 * small and button.get_attribute('aria-expanded') == 'true'
    button.click()
    assert button.size['width'] == small and button.get_attribute('aria-expanded') == 'false'


@pytest.mark.parametrize('width', [1280, 390])
@pytest.mark.parametrize('dark', [False, True])
def test_fits_the_screen(width, dark, page, browser):
    """Nothing but tables scrolls sideways; text stands out from its ground by 4.5 to 1 (WCAG 2.1, 1.4.3)."""
    driver = browser.open(page, width=width, dark=dark)
    assert driver.execute_script('return document.documentElement.scrollWidth') == width
    faint = driver.execute_script('''
        const parse = text => text.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92
            : ((v + .055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
        const ground = element => {
            const layers = [];
            for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
            return layers.reverse().reduce((below, [r, g, b, a = 1]) =>
                [r, g, b].map((v, i) => v * a + below[i] * (1 - a)), [255, 255, 255]);
        };
        return [...document.querySelectorAll('body *')].filter(element => element.offsetParent !== null &&
            [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())).map(element => {
                const pair = [light(parse(getComputedStyle(element).color)), light(ground(element))];
                return [(Math.max(...pair) + .05) / (Math.min(...pair) + .05), element.outerHTML.slice(0, 80)];
            }).filter(([ratio]) => ratio < 4.5)''')
    assert faint == []
    picture = driver.get_screenshot_as_png()
    assert len(picture) > 10_000


def test_prints(page, browser):
    driver = browser.open(page, dark=True)
    paper = base64.b64decode(driver.execute_cdp_cmd('Page.printToPDF', {'printBackground': True})['data'])
    assert paper.startswith(b'%PDF') and len(paper) > 20_000
    assert paper.count(b'/Type /Page\n') >= 2
    driver.execute_cdp_cmd('Emulation.setEmulatedMedia', dict(media='print'))
    try:
        shown = driver.execute_script(
            'return [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color, '
            'getComputedStyle(document.querySelector("nav")).display, '
            'getComputedStyle(document.querySelector(".controls")).display]')
    finally:
        driver.execute_cdp_cmd('Emulation.setEmulatedMedia', dict(media=''))
    assert shown == ['rgb(255, 255, 255)', 'rgb(0, 0, 0)', 'none', 'none']


def test_a_report_without_anything(content):
    import dataclasses
    bare = dataclasses.replace(content, pictures=[], training=[], training_note='none found', curves={}, rows=[],
                               diagnosis=content.diagnosis | {'findings': []})
    text = render_page(bare)
    assert 'No image has an error to show.' in text and 'none found' in text and 'nothing stands out' in text
    assert 'id="curves"' not in text
