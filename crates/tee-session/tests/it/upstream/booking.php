<?php
// A booking site for tests, served by PHP's own web server. As on many real sites, a GET books. Each
// booking and each added partner is a line of the file that the variable BOOKINGS names.

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
session_start();

function note(string $line): int {
    $file = fopen(getenv('BOOKINGS'), 'a+');
    flock($file, LOCK_EX);
    fwrite($file, $line . "\n");
    rewind($file);
    $count = count(file(getenv('BOOKINGS')));
    fclose($file);
    return $count;
}

function go(string $location): never {
    header("Location: $location", true, 302);
    exit;
}

if ($path === '/login' && $_SERVER['REQUEST_METHOD'] === 'GET') {
    $_SESSION['csrf'] ??= bin2hex(random_bytes(16));
    exit('<form id="login" method="post"><input name="_csrf_token" value="' . $_SESSION['csrf'] . '"></form>');
}
if ($path === '/login') {
    if (!hash_equals($_SESSION['csrf'] ?? '', $_POST['_csrf_token'] ?? '') || $_POST['pin'] !== '1234') {
        http_response_code(403);
        exit('wrong token or PIN');
    }
    session_regenerate_id(true);
    $_SESSION['member'] = $_POST['member'];
    setcookie('theme', 'dark', ['path' => '/']);
    go('/');
}
if (!isset($_SESSION['member']) && $path === '/inline') {
    // Some sites show the login form in place of the page, with the status 200.
    ob_start('ob_gzhandler');
    exit(str_repeat('<p>Welcome to our club.</p>', 200) . '<form id="login"></form>');
}
if (!isset($_SESSION['member'])) {
    go('/login');
}
switch ($path) {
    case '/':
        exit('Welcome ' . htmlspecialchars($_SESSION['member']));
    case '/teetimes':
        exit(isset($_GET['edit']) ? 'Booking ' . (int) $_GET['edit'] : 'Slots: 7, 8, 9');
    case '/book':
        $id = note('book ' . (int) $_GET['slot']);
        usleep((int) ($_GET['pause_us'] ?? 0));
        go("/teetimes?edit=$id");
    case '/partner':
        note('partner ' . (int) $_GET['edit']);
        exit('added');
    case '/logout':
        session_destroy();
        go('/login');
    case '/inline':
        ob_start('ob_gzhandler');
        exit(str_repeat('<p>Welcome to our club.</p>', 200));
    case '/rotate':
        session_regenerate_id(true);
        exit('rotated');
    default:
        http_response_code(404);
        exit('no such page');
}
